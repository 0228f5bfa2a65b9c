//! Byte-level BPE from a GGUF file's tokens and merges, and the bytes of its tokens.

use std::collections::{HashMap, HashSet};

use tokenizers::Tokenizer;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;

use super::pre_tokenizer::PreTokenizer;
use crate::error::LoadError;
use crate::gguf::GgufFile;

/// A tokenizer that cannot produce the tokens of `structure`.
pub(super) fn tokenizer(
    file: &GgufFile,
    texts: &[String],
    structure: &HashSet<&str>,
    pre_tokenizer: &PreTokenizer,
) -> Result<Tokenizer, LoadError> {
    let mut known = HashSet::new();
    let mut vocabulary = Vocab::default();
    for (token, text) in texts.iter().enumerate() {
        known.insert(text.as_str());
        if !structure.contains(text.as_str()) {
            vocabulary.entry(text.clone()).or_insert(token as u32);
        }
    }
    let mut merges = Vec::new();
    for merge in file.metadata.texts("tokenizer.ggml.merges")? {
        let pair = merge.split_once(' ').filter(|(left, right)| {
            known.contains(left)
                && known.contains(right)
                && known.contains(format!("{left}{right}").as_str())
        });
        let (left, right) =
            pair.ok_or_else(|| file.corrupt(format!("merge {merge:?} is outside the vocabulary")))?;
        if is_plain_merge(left, right, |text| structure.contains(text)) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    let broken = |error: tokenizers::Error| file.corrupt(format!("tokenizer: {error}"));
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(pre_tokenizer.ignores_merges)
        .build()
        .map_err(broken)?;
    let mut tokenizer = Tokenizer::new(bpe);
    if pre_tokenizer.normalises {
        tokenizer.with_normalizer(Some(NFC)).map_err(broken)?;
    }
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer.build().map_err(broken)?));
    Ok(tokenizer)
}

/// Whether a merge neither uses nor produces structure.
pub(super) fn is_plain_merge(left: &str, right: &str, is_structure: impl Fn(&str) -> bool) -> bool {
    !(is_structure(left) || is_structure(right) || is_structure(&format!("{left}{right}")))
}

/// Inverts byte-level BPE's mapping of every byte to a printable character.
pub(super) fn byte_of_character() -> HashMap<char, u8> {
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

/// The bytes of a token's text; text that is not in that encoding is taken unchanged.
pub(super) fn plain_bytes(text: &str, byte_of: &HashMap<char, u8>) -> Vec<u8> {
    let mapped: Option<Vec<u8>> =
        text.chars().map(|character| byte_of.get(&character).copied()).collect();
    mapped.unwrap_or_else(|| text.as_bytes().to_vec())
}
