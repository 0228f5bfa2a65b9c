//! A vocabulary from a GGUF file's metadata.

use std::collections::{HashMap, HashSet};

use super::byte_level::{self, byte_of_character, plain_bytes};
use super::pre_tokenizer::{ASSUMED, PreTokenizer};
use super::sentence_piece::{self, Piece, SentencePiece};
use super::special::{Special, SpecialTokens, is_always_control, is_ordinary_text};
use super::{Cutter, NamedPreTokenizer, PrefixedRuns, SpacePrefix, Vocabulary};
use crate::error::LoadError;
use crate::gguf::GgufFile;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Unknown,
    /// Structure without text.
    Control,
    /// Structure that shows in an answer, as `<think>`.
    ShownStructure,
    /// Text that becomes this token before it is cut.
    Whole,
    /// Never given by a cut.
    Unused,
    Byte,
}

/// What the metadata says of the tokens.
struct Table<'a> {
    file: &'a GgufFile,
    texts: &'a [String],
    kinds: Vec<Kind>,
    bos: Option<u32>,
    eos: Option<u32>,
    /// Ends a turn, where that is not the end of text.
    eot: Option<u32>,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// From a model file: byte-level BPE ("gpt2") or SentencePiece ("llama").
    pub(crate) fn from_gguf(file: &GgufFile) -> Result<Vocabulary, LoadError> {
        let table = Table::read(file)?;
        let mut space_prefix = SpacePrefix::default();
        let mut pre_tokenizer = None;
        let (cutter, bytes) = match file.metadata.text("tokenizer.ggml.model")? {
            "gpt2" => {
                let (named, kind) = NamedPreTokenizer::of(file)?;
                pre_tokenizer = Some(named);
                (table.byte_level(kind)?, table.byte_level_bytes())
            }
            "llama" => {
                if file.metadata.flag_or("tokenizer.ggml.add_space_prefix", true)? {
                    space_prefix.before = PrefixedRuns::Every;
                }
                (table.sentence_piece()?, table.sentence_piece_bytes())
            }
            other => {
                return Err(file.unsupported(format!(
                    "tokenizer of type {other:?} (tokenizer.ggml.model); known are \"gpt2\" (byte-level BPE) and \
                     \"llama\" (SentencePiece): take another model, or its folder with its tokenizer.json"
                )));
            }
        };
        let structure = table.specials(&[Kind::Control, Kind::ShownStructure]);
        // A control token that the model writes ends its answer: it is structure, and the answer is text.
        let mut ends: Vec<u32> = table.of(&[Kind::Control]).map(|(token, _)| token).collect();
        ends.extend(table.eos);
        ends.extend(table.eot);
        ends.sort_unstable();
        ends.dedup();
        let (bos, eos, whole) = (table.bos, table.eos, table.specials(&[Kind::Whole]));
        Ok(Vocabulary {
            cutter,
            space_prefix,
            bytes,
            structure,
            whole,
            ends,
            bos,
            eos,
            pre_tokenizer,
        })
    }
}

// === impl NamedPreTokenizer ===

impl NamedPreTokenizer {
    fn of(file: &GgufFile) -> Result<(NamedPreTokenizer, &'static PreTokenizer), LoadError> {
        let said = file.metadata.text_maybe("tokenizer.ggml.pre")?;
        let name = said.unwrap_or(ASSUMED).to_owned();
        let kind = PreTokenizer::of_name(&name).map_err(|why| file.unsupported(why))?;
        let adds_bos = kind.adds_bos;
        Ok((NamedPreTokenizer { name, is_assumed: said.is_none(), adds_bos }, kind))
    }
}

// === impl Table ===

impl<'a> Table<'a> {
    fn read(file: &'a GgufFile) -> Result<Table<'a>, LoadError> {
        let metadata = &file.metadata;
        let texts = metadata.texts("tokenizer.ggml.tokens")?;
        let id = |key: &str| -> Result<Option<u32>, LoadError> {
            match metadata.unsigned(key)? {
                Some(id) if id < texts.len() as u64 => Ok(Some(id as u32)),
                Some(id) => Err(file.corrupt(format!("{key} is {id}, outside the vocabulary"))),
                None => Ok(None),
            }
        };
        let (bos, eos) = (id("tokenizer.ggml.bos_token_id")?, id("tokenizer.ggml.eos_token_id")?);
        let eot = id("tokenizer.ggml.eot_token_id")?;
        let numbers = metadata.numbers("tokenizer.ggml.token_type")?;
        let kinds = (0u32..)
            .zip(texts)
            .map(|(token, text)| {
                let number = numbers.get(token as usize).map_or(1, |&kind| kind as u32);
                let has_role = [bos, eos, eot].contains(&Some(token));
                Kind::new(number, text, has_role)
            })
            .collect();
        Ok(Table { file, texts, kinds, bos, eos, eot })
    }

    /// Tokens of some kinds.
    fn of(&self, kinds: &[Kind]) -> impl Iterator<Item = (u32, &'a str)> {
        (0..)
            .zip(self.texts)
            .zip(&self.kinds)
            .filter(|(_, kind)| kinds.contains(kind))
            .map(|((token, text), _)| (token, text.as_str()))
    }

    fn specials(&self, kinds: &[Kind]) -> SpecialTokens {
        SpecialTokens::new(
            self.of(kinds).map(|(token, text)| (text.to_owned(), Special::new(token))),
        )
    }

    fn byte_level(&self, pre_tokenizer: &PreTokenizer) -> Result<Cutter, LoadError> {
        let structure: HashSet<&str> =
            self.of(&[Kind::Control, Kind::ShownStructure]).map(|(_, text)| text).collect();
        let tokenizer = byte_level::tokenizer(self.file, self.texts, &structure, pre_tokenizer)?;
        Ok(Cutter::Bpe(Box::new(tokenizer)))
    }

    fn byte_level_bytes(&self) -> Vec<Vec<u8>> {
        let byte_of = byte_of_character();
        let bytes = |(text, kind): (&String, &Kind)| match kind {
            Kind::Control => Vec::new(),
            Kind::ShownStructure | Kind::Whole => text.clone().into_bytes(),
            Kind::Plain | Kind::Unknown | Kind::Unused | Kind::Byte => plain_bytes(text, &byte_of),
        };
        self.texts.iter().zip(&self.kinds).map(bytes).collect()
    }

    fn sentence_piece(&self) -> Result<Cutter, LoadError> {
        let scores = self.file.metadata.numbers("tokenizer.ggml.scores")?;
        if scores.len() != self.texts.len() {
            let (scores, tokens) = (scores.len(), self.texts.len());
            return Err(self.file.corrupt(format!("{scores} scores for {tokens} tokens")));
        }
        let pieces: HashMap<String, Piece> = self
            .of(&[Kind::Plain, Kind::Whole])
            .map(|(token, text)| {
                (text.to_owned(), Piece { token, score: scores[token as usize] as f32 })
            })
            .collect();
        let mut bytes = Box::new([None; 256]);
        for (token, text) in self.of(&[Kind::Byte]) {
            if let Some(byte) = sentence_piece::byte_of(text) {
                bytes[byte as usize] = Some(token);
            }
        }
        let unknown = self.of(&[Kind::Unknown]).map(|(token, _)| token).next();
        Ok(Cutter::SentencePiece(SentencePiece::new(pieces, bytes, unknown)))
    }

    fn sentence_piece_bytes(&self) -> Vec<Vec<u8>> {
        let bytes = |(text, kind): (&String, &Kind)| match kind {
            Kind::Control | Kind::Unknown => Vec::new(),
            Kind::ShownStructure => text.clone().into_bytes(),
            Kind::Byte => sentence_piece::byte_of(text).into_iter().collect(),
            Kind::Plain | Kind::Whole | Kind::Unused => sentence_piece::plain_bytes(text),
        };
        self.texts.iter().zip(&self.kinds).map(bytes).collect()
    }
}

// === impl Kind ===

impl Kind {
    /// `number` is the file format's. A token with a role is structure, whatever it says.
    fn new(number: u32, text: &str, has_role: bool) -> Kind {
        match number {
            3 => Kind::Control,
            _ if has_role || is_always_control(text) => Kind::Control,
            2 => Kind::Unknown,
            4 if is_ordinary_text(text) => Kind::Whole,
            4 => Kind::ShownStructure,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => Kind::Plain,
        }
    }
}

/// Byte-level, cut in the given way whatever the file names.
#[cfg(test)]
pub(super) fn with_pre_tokenizer(
    file: &GgufFile,
    pre_tokenizer: &PreTokenizer,
) -> Result<Vocabulary, LoadError> {
    let cutter = Table::read(file)?.byte_level(pre_tokenizer)?;
    Ok(Vocabulary { cutter, ..Vocabulary::from_gguf(file)? })
}

#[cfg(test)]
mod tests;
