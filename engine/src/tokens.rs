//! Turns a prompt's spans into tokens, and tokens back into text.
//!
//! ```text
//! Prompt --chat template--> template text | content spans ...     (chat.rs)
//!        --special tokens, in trusted text only--> runs of plain text and special tokens
//!        --BPE of each run as one piece--> tokens                  (vocabulary.rs)
//! ```
//!
//! Untrusted text passes neither through the template engine nor through the search for special tokens, so no character
//! of it can become structure. Text between two special tokens is tokenised as one piece, however many spans it comes
//! from, so span borders do not affect the tokens.
//!
//! A model is a GGUF file or a Hugging Face folder (folder.rs); both give the same [`Tokens`].

mod chat;
mod folder;
mod text;
mod vocabulary;

use std::path::Path;

pub(crate) use text::GeneratedText;

use crate::error::{LoadError, PromptError};
use crate::files::ModelFiles;
use crate::gguf::GgufFile;
use crate::prompt::{Message, Prompt, Role, Span, Trust};
pub(crate) use chat::Turn;
use chat::{ChatTemplate, Piece};
use folder::TokenizerFolder;
pub(crate) use vocabulary::ASSUMED_PRE_TOKENIZER as DEFAULT_PRE_TOKENIZER;
use vocabulary::{Before, NamedPreTokenizer, Special, Vocabulary};

/// A model's tokenizer and chat template.
#[derive(Debug)]
pub(crate) struct Tokens {
    vocabulary: Vocabulary,
    template: ChatTemplate,
    /// Whether a conversation starts with the start token even if the template does not write it.
    add_bos: bool,
}

/// The tokens of a conversation so far.
struct Encoding<'a> {
    vocabulary: &'a Vocabulary,
    tokens: Vec<u32>,
    /// Text after the last special token.
    run: String,
    /// The last special token.
    special: Option<Special>,
}

// === impl Tokens ===

impl Tokens {
    /// From either format.
    pub(crate) fn of_files(files: &ModelFiles) -> Result<Tokens, LoadError> {
        match files {
            ModelFiles::Gguf(file) => Tokens::from_gguf(file),
            ModelFiles::Folder(folder) => Tokens::from_folder(folder.path()),
        }
    }

    /// From a GGUF file. Whether a start token is added is what the file says, or else the default of its kind of
    /// tokenizer; byte-level ones add it only if no template writes it.
    pub(crate) fn from_gguf(file: &GgufFile) -> Result<Tokens, LoadError> {
        let vocabulary = Vocabulary::from_gguf(file)?;
        let source = file.metadata.text_maybe("tokenizer.chat_template")?;
        let template =
            ChatTemplate::load(source, &vocabulary).map_err(|why| file.unsupported(why))?;
        let usual = match vocabulary.pre_tokenizer() {
            Some(pre_tokenizer) => pre_tokenizer.adds_bos && source.is_none(),
            // SentencePiece.
            None => true,
        };
        let add_bos = file.metadata.flag_or("tokenizer.ggml.add_bos_token", usual)?;
        Ok(Tokens { vocabulary, template, add_bos })
    }

    /// From a Hugging Face folder. The start token is written by its template; without a template, by its tokenizer.
    pub(crate) fn from_folder(path: &Path) -> Result<Tokens, LoadError> {
        let folder = TokenizerFolder::read(path)?;
        let vocabulary = Vocabulary::from_folder(&folder)?;
        let template = ChatTemplate::load(folder.template.as_deref(), &vocabulary)
            .map_err(|why| folder.unsupported(why))?;
        let has_chat_template = folder.template.is_some();
        let add_bos = !has_chat_template && folder.adds_bos();
        Ok(Tokens { vocabulary, template, add_bos })
    }

    /// Checks that the model's embedding table covers the tokenizer.
    ///
    /// # Errors
    /// A token that any prompt may contain (in plain text, or from the template) is outside the table's `embedded`
    /// rows. Other tokens are rejected where they occur.
    pub(crate) fn check(&self, embedded: usize) -> Result<(), String> {
        if self.len() <= embedded {
            return Ok(());
        }
        let is_beyond = |token: &u32| *token as usize >= embedded;
        // Templates that reject such a short conversation are not checked.
        let spans = vec![Span::untrusted("a")];
        let prompt = Prompt { messages: vec![Message { role: Role::User, spans }] };
        let prompt = self.encode_prompt(&prompt, Turn::ModelSpeaks).unwrap_or_default();
        let found = match self.vocabulary.last_of_text().filter(is_beyond) {
            Some(token) => Some((token, "text may become")),
            None => prompt.into_iter().find(is_beyond).map(|token| (token, "prompts have")),
        };
        found.map_or(Ok(()), |(token, use_of_it)| {
            let tokens = self.len();
            Err(format!(
                "its tokenizer has {tokens} tokens, and the model knows {embedded}: not token {token}, which {use_of_it}; take the \
                 tokenizer that was published with these weights"
            ))
        })
    }

    /// The rule that splits text into words before BPE, if GGUF files have a name for it.
    pub(crate) fn pre_tokenizer(&self) -> Option<&NamedPreTokenizer> {
        self.vocabulary.pre_tokenizer()
    }

    /// The text that the template appends after the last message to begin the model's answer.
    pub(crate) fn answer_opening(&self, prompt: &Prompt) -> Result<String, PromptError> {
        match self.template.pieces(prompt, Turn::ModelSpeaks)?.pop() {
            Some(Piece::Template(text)) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    pub(crate) fn encode_prompt(
        &self,
        prompt: &Prompt,
        turn: Turn,
    ) -> Result<Vec<u32>, PromptError> {
        let mut encoding = Encoding {
            vocabulary: &self.vocabulary,
            tokens: Vec::new(),
            run: String::new(),
            special: None,
        };
        for piece in self.template.pieces(prompt, turn)? {
            match piece {
                Piece::Template(text) => encoding.add_trusted(&text)?,
                Piece::Content(index) => {
                    for span in &prompt.messages[index].spans {
                        match span.trust {
                            Trust::Trusted => encoding.add_trusted(&span.text)?,
                            Trust::Untrusted => encoding.run.push_str(&span.text),
                        }
                    }
                }
            }
        }
        encoding.end_run()?;
        let mut tokens = encoding.tokens;
        if let Some(bos) = self.vocabulary.bos().filter(|_| self.add_bos)
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// An empty text for an answer to this prompt.
    pub(crate) fn answer_to(&self, prompt: &[u32]) -> GeneratedText {
        if self.vocabulary.answer_has_prefix(prompt) {
            GeneratedText::without_first_space()
        } else {
            GeneratedText::default()
        }
    }

    /// Tokens of text that follows other text, with no special tokens recognised.
    pub(crate) fn encode_plain(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let mut tokens = Vec::new();
        self.vocabulary.encode_plain(text, Before::Text, &mut tokens)?;
        Ok(tokens)
    }

    /// The bytes that a token stands for; none for control tokens.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        self.vocabulary.bytes(token)
    }

    /// Whether the model ends its answer with this token.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.vocabulary.is_end(token)
    }

    /// All of the first `outputs` tokens whose text starts with this byte.
    pub(crate) fn starting_with(&self, first: u8, outputs: usize) -> Vec<u32> {
        (0..self.vocabulary.len().min(outputs) as u32)
            .filter(|&token| self.bytes(token).first() == Some(&first))
            .collect()
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.vocabulary.len()
    }
}

// === impl Encoding ===

impl Encoding<'_> {
    /// Special tokens end the preceding run of plain text.
    fn add_trusted(&mut self, text: &str) -> Result<(), PromptError> {
        let mut rest = text;
        while let Some((at, length, special)) = self.vocabulary.find_special(rest) {
            self.run.push_str(&rest[..at]);
            if special.strips_before {
                self.run.truncate(self.run.trim_end().len());
            }
            self.end_run()?;
            self.tokens.push(special.token);
            self.special = Some(special);
            rest = &rest[at + length..];
        }
        self.run.push_str(rest);
        Ok(())
    }

    fn end_run(&mut self) -> Result<(), PromptError> {
        let strips = self.special.is_some_and(|special| special.strips_after);
        let run = if strips { self.run.trim_start() } else { &self.run };
        let before = if self.special.is_some() { Before::Special } else { Before::Nothing };
        self.vocabulary.encode_plain(run, before, &mut self.tokens)?;
        self.run.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod written;
