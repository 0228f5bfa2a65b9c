//! From a prompt's spans to tokens, and from tokens back to text.
//!
//! ```text
//! Prompt --chat template--> template text | content spans ...     (chat.rs)
//!        --special tokens, in trusted text only--> runs of plain text and special tokens
//!        --BPE of each run as one piece--> tokens                  (vocabulary.rs)
//! ```
//!
//! Untrusted text passes neither through the template engine nor through the search for special tokens, so no
//! character of it can become structure. Text between two special tokens is one piece, however many spans it
//! came from, so that a span's border leaves no trace in the tokens.

mod chat;
mod text;
mod vocabulary;

pub(crate) use text::GeneratedText;

use crate::error::{LoadError, PromptError};
use crate::gguf::GgufFile;
use crate::prompt::{Prompt, Trust};
use chat::{ChatTemplate, Piece};
use vocabulary::Vocabulary;

/// A model's tokenizer and chat template.
#[derive(Debug)]
pub(crate) struct Tokens {
    vocabulary: Vocabulary,
    template: ChatTemplate,
    add_bos: bool,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn load(file: &GgufFile) -> Result<Tokens, LoadError> {
        let vocabulary = Vocabulary::load(file)?;
        let template = ChatTemplate::load(file, &vocabulary)?;
        let add_bos = file.metadata.flag_or("tokenizer.ggml.add_bos_token", false)?;
        Ok(Tokens { vocabulary, template, add_bos })
    }

    pub(crate) fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        let mut tokens = Vec::new();
        let mut run = String::new();
        for piece in self.template.pieces(prompt)? {
            match piece {
                Piece::Template(text) => self.trusted(&text, &mut run, &mut tokens)?,
                Piece::Content(index) => {
                    for span in &prompt.messages[index].spans {
                        match span.trust {
                            Trust::Trusted => self.trusted(&span.text, &mut run, &mut tokens)?,
                            Trust::Untrusted => run.push_str(&span.text),
                        }
                    }
                }
            }
        }
        self.vocabulary.encode_plain(&run, &mut tokens)?;
        if let Some(bos) = self.vocabulary.bos.filter(|_| self.add_bos)
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// Tokens of text in which nothing is special.
    pub(crate) fn encode_plain(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let mut tokens = Vec::new();
        self.vocabulary.encode_plain(text, &mut tokens)?;
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

    /// All tokens whose text starts with this byte.
    pub(crate) fn starting_with(&self, first: u8) -> Vec<u32> {
        (0..self.vocabulary.len() as u32)
            .filter(|&token| self.bytes(token).first() == Some(&first))
            .collect()
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// Special tokens end the run of plain text before them.
    fn trusted(
        &self,
        text: &str,
        run: &mut String,
        tokens: &mut Vec<u32>,
    ) -> Result<(), PromptError> {
        let mut rest = text;
        while let Some((at, length, special)) = self.vocabulary.find_special(rest) {
            run.push_str(&rest[..at]);
            self.vocabulary.encode_plain(run, tokens)?;
            run.clear();
            tokens.push(special);
            rest = &rest[at + length..];
        }
        run.push_str(rest);
        Ok(())
    }
}
