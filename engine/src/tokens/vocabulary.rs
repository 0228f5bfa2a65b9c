//! The model's vocabulary: byte-level BPE from the file's tokens and merges.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use crate::error::{LoadError, PromptError};
use crate::gguf::GgufFile;

/// Token kinds of the file format that matter here.
const KIND_CONTROL: u32 = 3;
const KIND_USER_DEFINED: u32 = 4;

/// How Qwen2 cuts text before BPE (from its published tokenizer).
const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// How Llama 3 does: as Qwen2, but with up to three digits together.
const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Tokens, their bytes, and how text is cut into them.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    tokenizer: Tokenizer,
    bytes: Vec<Vec<u8>>,
    /// Tokens that are structure, not text: by length, the longest first.
    specials: Vec<(String, u32)>,
    ends: Vec<u32>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
}

// === impl Vocabulary ===

impl Vocabulary {
    pub(crate) fn load(file: &GgufFile) -> Result<Vocabulary, LoadError> {
        let metadata = &file.metadata;
        let model = metadata.text("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(file.unsupported(format!("tokenizer of type {model:?}")));
        }
        let texts = metadata.texts("tokenizer.ggml.tokens")?;
        let kinds = metadata.numbers("tokenizer.ggml.token_type")?;
        let kind = |token: usize| kinds.get(token).map_or(1, |&kind| kind as u32);
        let tokenizer = build_tokenizer(file, texts)?;
        let special = |token: usize| matches!(kind(token), KIND_CONTROL | KIND_USER_DEFINED);
        let mut specials: Vec<(String, u32)> = (0..texts.len())
            .filter(|&token| special(token) && !texts[token].is_empty())
            .map(|token| (texts[token].clone(), token as u32))
            .collect();
        specials.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        let unmap = byte_of_character();
        let bytes = (0..texts.len())
            .map(|token| match kind(token) {
                KIND_CONTROL => Vec::new(),
                KIND_USER_DEFINED => texts[token].clone().into_bytes(),
                _ => plain_bytes(&texts[token], &unmap),
            })
            .collect();
        let id = |key: &str| -> Result<Option<u32>, LoadError> {
            match metadata.unsigned(key)? {
                Some(id) if id < texts.len() as u64 => Ok(Some(id as u32)),
                Some(id) => Err(file.corrupt(format!("{key} is {id}, outside the vocabulary"))),
                None => Ok(None),
            }
        };
        let eos = id("tokenizer.ggml.eos_token_id")?;
        // A control token that the model writes ends its answer: it is structure, and the answer is text.
        let mut ends: Vec<u32> =
            (0..texts.len() as u32).filter(|&token| kind(token as usize) == KIND_CONTROL).collect();
        ends.extend(eos);
        ends.extend(id("tokenizer.ggml.eot_token_id")?);
        ends.sort_unstable();
        ends.dedup();
        let bos = id("tokenizer.ggml.bos_token_id")?;
        Ok(Vocabulary { tokenizer, bytes, specials, ends, bos, eos })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// The text of a special token.
    pub(crate) fn special_text(&self, token: Option<u32>) -> &str {
        self.specials
            .iter()
            .find(|(_, special)| Some(*special) == token)
            .map_or("", |(text, _)| text)
    }

    /// The first special token in a text: where, how long, which; the longest of those that start there.
    pub(crate) fn find_special(&self, text: &str) -> Option<(usize, usize, u32)> {
        self.specials
            .iter()
            .filter_map(|(special, token)| {
                Some((text.find(special.as_str())?, special.len(), *token))
            })
            .min_by_key(|&(at, length, _)| (at, usize::MAX - length))
    }

    /// Appends the tokens of a text in which nothing is special.
    pub(crate) fn encode_plain(
        &self,
        text: &str,
        tokens: &mut Vec<u32>,
    ) -> Result<(), PromptError> {
        if text.is_empty() {
            return Ok(());
        }
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| PromptError::Tokenizer(error.to_string()))?;
        tokens.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

fn build_tokenizer(file: &GgufFile, texts: &[String]) -> Result<Tokenizer, LoadError> {
    let mut vocabulary = Vocab::default();
    for (token, text) in texts.iter().enumerate() {
        vocabulary.entry(text.clone()).or_insert(token as u32);
    }
    let mut merges = Vec::new();
    for merge in file.metadata.texts("tokenizer.ggml.merges")? {
        let pair = merge.split_once(' ').filter(|(left, right)| {
            vocabulary.contains_key(*left)
                && vocabulary.contains_key(*right)
                && vocabulary.contains_key(&format!("{left}{right}"))
        });
        let (left, right) =
            pair.ok_or_else(|| file.corrupt(format!("merge {merge:?} is outside the vocabulary")))?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    let broken = |error: tokenizers::Error| file.corrupt(format!("tokenizer: {error}"));
    let kind = file.metadata.text_maybe("tokenizer.ggml.pre")?.unwrap_or("default");
    let ignore_merges = kind == "llama-bpe";
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(ignore_merges)
        .build()
        .map_err(broken)?;
    let mut tokenizer = Tokenizer::new(bpe);
    let by_pattern = |pattern: &str| -> Result<PreTokenizerWrapper, LoadError> {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(broken)?;
        let bytes = ByteLevel::new(false, true, false);
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(vec![split.into(), bytes.into()])))
    };
    let pre_tokenizer: PreTokenizerWrapper = match kind {
        "gpt-2" | "default" => ByteLevel::new(false, true, true).into(),
        "smollm" => {
            let digits = Digits::new(true);
            let bytes = ByteLevel::new(false, true, true);
            PreTokenizerWrapper::Sequence(Sequence::new(vec![digits.into(), bytes.into()]))
        }
        "qwen2" => {
            tokenizer.with_normalizer(Some(NFC)).map_err(broken)?;
            by_pattern(QWEN2_PATTERN)?
        }
        "llama-bpe" => by_pattern(LLAMA3_PATTERN)?,
        other => return Err(file.unsupported(format!("pre-tokenizer {other:?}"))),
    };
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
    Ok(tokenizer)
}

/// Byte-level BPE writes every byte as a printable character; this is the way back.
fn byte_of_character() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    (0..=255u8)
        .map(|byte| {
            let code = if printable(byte) {
                u32::from(byte)
            } else {
                next += 1;
                next - 1
            };
            (char::from_u32(code).expect("codes below 512 are characters"), byte)
        })
        .collect()
}

fn plain_bytes(text: &str, unmap: &HashMap<char, u8>) -> Vec<u8> {
    let mapped: Option<Vec<u8>> =
        text.chars().map(|character| unmap.get(&character).copied()).collect();
    mapped.unwrap_or_else(|| text.as_bytes().to_vec())
}
