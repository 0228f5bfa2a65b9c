//! A model's vocabulary: what its tokens are, and how text is cut into them.
//!
//! ```text
//! gguf.rs, folder.rs      read one from a file     --special.rs says which tokens are structure, which are text
//! byte_level.rs           cuts as GPT-2's family does, with the `tokenizers` crate
//! pre_tokenizer.rs        how byte-level models cut text into words before that, by name
//! sentence_piece.rs       cuts by scores, as SentencePiece and llama.cpp do
//! ```
//!
//! Text that is cut here never becomes structure: structure tokens are not among the tokens that a cut can give.
//! Not promised: equality with tokenizers that find special tokens in any text, where the text has some.

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

/// Tokens, their bytes, and how text is cut into them.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    cutter: Cutter,
    space_prefix: SpacePrefix,
    /// The text that each token stands for; empty for control tokens.
    bytes: Vec<Vec<u8>>,
    /// Tokens that are structure; found in trusted text alone.
    structure: SpecialTokens,
    /// Tokens that any text with their characters becomes, before it is cut: runs of blanks, HTML tags.
    whole: SpecialTokens,
    /// Tokens with which the model ends its answer, in ascending order.
    ends: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// How text is cut into words, where a GGUF file has a name for it.
    pre_tokenizer: Option<NamedPreTokenizer>,
}

/// The name of a way to cut text into words before BPE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPreTokenizer {
    pub(crate) name: String,
    /// The file does not give it.
    pub(crate) is_assumed: bool,
    /// The start token goes before a text where the file does not say.
    pub(crate) adds_bos: bool,
}

/// How text between special tokens is cut.
#[derive(Debug)]
enum Cutter {
    Bpe(Box<Tokenizer>),
    SentencePiece(SentencePiece),
}

/// Where SentencePiece's models put a space that the text does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SpacePrefix {
    before: PrefixedRuns,
    /// A text that starts with a space gets none.
    unless_there: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PrefixedRuns {
    #[default]
    None,
    /// Only what the conversation starts with.
    First,
    /// Also what follows a special token.
    Every,
}

/// What stands before a run of text.
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

    /// The last token that text may become in which nothing is structure. Unknown of SentencePiece's vocabularies, which come with the
    /// tables of their models.
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

    /// What a conversation starts with, for models that want it.
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

    /// The first special token in a text: where, how long, which; the longest of those that start there.
    pub(crate) fn find_special(&self, text: &str) -> Option<(usize, usize, Special)> {
        self.structure.find(text)
    }

    /// Whether an answer that starts with a space, after this prompt, is meant to have none.
    pub(crate) fn answer_has_prefix(&self, prompt: &[u32]) -> bool {
        self.space_prefix.before == PrefixedRuns::Every
            && prompt.last().is_none_or(|&token| self.structure.text(token).is_some())
    }

    /// Appends the tokens of a text in which nothing is structure.
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
