//! A model's vocabulary: its tokens, and how text is split into them.
//!
//! ```text
//! gguf.rs, folder.rs      read one from a file     --special.rs decides which tokens are structure, which are text
//! byte_level.rs           splits like GPT-2's family, with the `tokenizers` crate
//! pre_tokenizer.rs        how byte-level models split text into words before that, by name
//! sentence_piece.rs       splits by scores, like SentencePiece and llama.cpp
//! ```
//!
//! Text that is split here never becomes structure: structure tokens are not among the possible results. Not
//! guaranteed: equality with tokenizers that recognise special tokens in any text, if the text contains some.

mod byte_level;
mod folder;
mod gguf;
mod pre_tokenizer;
mod sentence_piece;
mod special;

use tokenizers::Tokenizer;

use crate::error::PromptError;
use sentence_piece::SentencePiece;
use special::SpecialTokens;

pub(crate) use pre_tokenizer::ASSUMED as ASSUMED_PRE_TOKENIZER;
pub(crate) use special::Special;

/// Tokens, their bytes, and how text is split into them.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    cutter: Cutter,
    space_prefix: SpacePrefix,
    /// The text that each token stands for; empty for control tokens.
    bytes: Vec<Vec<u8>>,
    /// Tokens that are structure; recognised only in trusted text.
    structure: SpecialTokens,
    /// Tokens that their characters become in any text, before it is split: runs of blanks, HTML tags.
    whole: SpecialTokens,
    /// Tokens that end the model's answer, in ascending order.
    ends: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// The rule that splits text into words, if GGUF files have a name for it.
    pre_tokenizer: Option<NamedPreTokenizer>,
}

/// The name of a rule that splits text into words before BPE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPreTokenizer {
    pub(crate) name: String,
    /// Whether the name is an assumption because the file has none.
    pub(crate) is_assumed: bool,
    /// Whether the start token is added before a text if the file does not say.
    pub(crate) adds_bos: bool,
}

/// How text between special tokens is split.
#[derive(Debug)]
enum Cutter {
    Bpe(Box<Tokenizer>),
    SentencePiece(SentencePiece),
}

/// Where SentencePiece models add a space that is not in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SpacePrefix {
    before: PrefixedRuns,
    /// Not before a text that starts with a space.
    unless_there: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PrefixedRuns {
    #[default]
    None,
    /// Only at the start of the conversation.
    First,
    /// Also after each special token.
    Every,
}

/// What comes before a run of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    Special,
    Text,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The highest token that plain text can become. Unknown for SentencePiece vocabularies, whose files also contain
    /// the embedding table.
    pub(crate) fn last_of_text(&self) -> Option<u32> {
        let Cutter::Bpe(tokenizer) = &self.cutter else { return None };
        let cut = tokenizer.get_vocab(false).into_values();
        cut.chain(self.whole.tokens()).max()
    }

    pub(crate) fn pre_tokenizer(&self) -> Option<&NamedPreTokenizer> {
        self.pre_tokenizer.as_ref()
    }

    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// The token that starts a conversation, for models that want one.
    pub(crate) fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The text of the start token, as templates write it; empty when there is none.
    pub(crate) fn bos_text(&self) -> &str {
        self.bos.and_then(|token| self.structure.text(token)).unwrap_or_default()
    }

    /// The text of the end token, as templates write it; empty when there is none.
    pub(crate) fn eos_text(&self) -> &str {
        self.eos.and_then(|token| self.structure.text(token)).unwrap_or_default()
    }

    /// The first special token in a text, the longest if several start there: position, length, token.
    pub(crate) fn find_special(&self, text: &str) -> Option<(usize, usize, Special)> {
        self.structure.find(text)
    }

    /// Whether a space at the start of the answer to this prompt is to be dropped.
    pub(crate) fn answer_has_prefix(&self, prompt: &[u32]) -> bool {
        self.space_prefix.before == PrefixedRuns::Every
            && prompt.last().is_none_or(|&token| self.structure.text(token).is_some())
    }

    /// Appends the tokens of plain text.
    pub(crate) fn encode_plain(
        &self,
        text: &str,
        mut before: Before,
        tokens: &mut Vec<u32>,
    ) -> Result<(), PromptError> {
        let mut rest = text;
        while let Some((at, length, whole)) = self.whole.find(rest) {
            self.cut(&rest[..at], before, tokens)?;
            tokens.push(whole.token);
            before = Before::Special;
            rest = &rest[at + length..];
        }
        self.cut(rest, before, tokens)
    }

    fn cut(&self, text: &str, before: Before, tokens: &mut Vec<u32>) -> Result<(), PromptError> {
        if text.is_empty() {
            return Ok(());
        }
        let prefix = self.space_prefix.applies(text, before);
        match &self.cutter {
            Cutter::SentencePiece(pieces) => pieces.cut(text, prefix, tokens),
            Cutter::Bpe(tokenizer) => {
                let text = if prefix { &format!(" {text}") } else { text };
                let encoding = tokenizer
                    .encode_fast(text, false)
                    .map_err(|error| PromptError::Tokenizer(error.to_string()))?;
                tokens.extend_from_slice(encoding.get_ids());
            }
        }
        Ok(())
    }
}

// === impl SpacePrefix ===

impl SpacePrefix {
    fn applies(self, text: &str, before: Before) -> bool {
        let run = match self.before {
            PrefixedRuns::None => false,
            PrefixedRuns::First => before == Before::Nothing,
            PrefixedRuns::Every => before != Before::Text,
        };
        run && !(self.unless_there && text.starts_with([' ', sentence_piece::SPACE]))
    }
}
