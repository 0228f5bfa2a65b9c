//! A vocabulary from a Hugging Face folder's tokenizer.json.
//!
//! Its added tokens are removed from the tokenizer, which would recognise them in any text, and so are merges that
//! would produce them. What its normalizer or pre-tokenizer adds before a text is removed as well, since text is split
//! in runs, only some of which are at a start.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::byte_level::{byte_of_character, is_plain_merge, plain_bytes};
use super::pre_tokenizer::{TRAILING_BLANKS, TRAILING_BLANKS_AS_WRITTEN};
use super::special::{Special, SpecialTokens, is_always_control, is_ordinary_text};
use super::{Cutter, PrefixedRuns, SpacePrefix, Vocabulary, sentence_piece};
use crate::error::LoadError;
use crate::tokens::folder::{AddedToken, BpeModel, NamedToken, TokenizerFolder};

/// Maximum tokens of a vocabulary; bounds the memory that a damaged file makes us reserve.
const MAX_TOKENS: u32 = 1 << 24;

// === impl Vocabulary ===

impl Vocabulary {
    /// From tokenizer.json, and the information about special tokens in the files beside it.
    pub(crate) fn from_folder(folder: &TokenizerFolder) -> Result<Vocabulary, LoadError> {
        let model = read_model(folder)?;
        let added = &folder.tokenizer.added_tokens;
        let token = |named: &Option<NamedToken>| {
            let text = named.as_ref()?.text();
            let found = added.iter().find(|token| token.content == text).map(|token| token.id);
            found.or_else(|| model.vocab.get(text).copied())
        };
        let (bos, eos) = (token(&folder.config.bos_token), token(&folder.config.eos_token));
        let has_role =
            |token: u32| bos == Some(token) || eos == Some(token) || folder.ends.contains(&token);
        let is_control = |token: &AddedToken| {
            token.special || has_role(token.id) || is_always_control(&token.content)
        };
        let is_whole = |token: &AddedToken| !is_control(token) && is_ordinary_text(&token.content);

        let mut structure: Vec<(String, Special)> = added
            .iter()
            .filter(|token| !is_whole(token))
            .map(|token| (token.content.clone(), Special::from(token)))
            .collect();
        // Tokens that have a role but are not in the file's list of added tokens.
        let unlisted =
            model.vocab.iter().filter(|&(text, &token)| has_role(token) || is_always_control(text));
        structure.extend(unlisted.map(|(text, &token)| (text.clone(), Special::new(token))));
        let whole = added.iter().filter(|token| is_whole(token)).map(|token| {
            let content = &token.content;
            let text = if token.normalized {
                content.replace(sentence_piece::SPACE, " ")
            } else {
                content.clone()
            };
            (text, Special::from(token))
        });

        let bytes = token_bytes(folder, &model, is_control)?;
        let ids = 0..bytes.len() as u32;
        let mut ends: Vec<u32> = folder.ends.iter().copied().chain(eos).collect();
        ends.extend(added.iter().filter(|token| is_control(token)).map(|token| token.id));
        ends.retain(|end| ids.contains(end));
        ends.sort_unstable();
        ends.dedup();

        let whole = SpecialTokens::new(whole);
        let texts: HashSet<String> = structure.iter().map(|(text, _)| text.clone()).collect();
        let (tokenizer, space_prefix) = build_tokenizer(folder, &model, &texts)?;
        let cutter = Cutter::Bpe(Box::new(tokenizer));
        let structure = SpecialTokens::new(structure);
        let pre_tokenizer = None; // tokenizer.json describes it
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

// === impl Special ===

impl From<&AddedToken> for Special {
    fn from(token: &AddedToken) -> Special {
        Special { token: token.id, strips_before: token.lstrip, strips_after: token.rstrip }
    }
}

fn read_model(folder: &TokenizerFolder) -> Result<BpeModel, LoadError> {
    let model = &folder.tokenizer.model;
    // Old files do not state the type; only BPE has merges.
    let kind = model.get("type").and_then(Value::as_str);
    let kind = kind.or_else(|| model.get("merges").map(|_| "BPE")).unwrap_or("unnamed");
    if kind != "BPE" {
        return Err(folder.unsupported(format!("tokenizer of type {kind:?}")));
    }
    let model =
        BpeModel::deserialize(model).map_err(|error| folder.corrupt(format!("model: {error}")))?;
    let affix = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affix.iter().any(|affix| affix.as_ref().is_some_and(|affix| !affix.is_empty())) {
        return Err(folder.unsupported("tokens with a prefix or suffix of their own"));
    }
    Ok(model)
}

/// The bytes of every token; gaps between ids are tokens without text.
fn token_bytes(
    folder: &TokenizerFolder,
    model: &BpeModel,
    is_control: impl Fn(&AddedToken) -> bool,
) -> Result<Vec<Vec<u8>>, LoadError> {
    let added = &folder.tokenizer.added_tokens;
    let last = model.vocab.values().copied().chain(added.iter().map(|token| token.id)).max();
    let last = last.ok_or_else(|| folder.corrupt("it has no tokens"))?;
    if last >= MAX_TOKENS {
        return Err(folder.corrupt(format!("token {last} is beyond any vocabulary")));
    }
    let byte_level = [&folder.tokenizer.decoder, &folder.tokenizer.pre_tokenizer]
        .iter()
        .any(|part| mentions(part, "ByteLevel"));
    let byte_of = byte_of_character();
    let mut bytes = vec![Vec::new(); last as usize + 1];
    for (text, &token) in &model.vocab {
        bytes[token as usize] = match sentence_piece::byte_of(text) {
            _ if Some(text) == model.unk_token.as_ref() => Vec::new(),
            Some(byte) if model.byte_fallback => vec![byte],
            _ if byte_level => plain_bytes(text, &byte_of),
            _ => sentence_piece::plain_bytes(text),
        };
    }
    for token in added {
        bytes[token.id as usize] = if is_control(token) {
            Vec::new()
        } else if is_ordinary_text(&token.content) {
            sentence_piece::plain_bytes(&token.content)
        } else {
            token.content.clone().into_bytes()
        };
    }
    Ok(bytes)
}

/// The tokenizer, which cannot produce the tokens of `structure`, and where it would have added spaces.
fn build_tokenizer(
    folder: &TokenizerFolder,
    model: &BpeModel,
    structure: &HashSet<String>,
) -> Result<(Tokenizer, SpacePrefix), LoadError> {
    let broken = |error: tokenizers::Error| folder.corrupt(format!("tokenizer: {error}"));
    let is_byte = |text: &str| model.byte_fallback && sentence_piece::byte_of(text).is_some();
    let is_structure = |text: &str| structure.contains(text) && !is_byte(text);
    let mut merges = Vec::new();
    for merge in &model.merges {
        let (left, right) = merge
            .pair()
            .ok_or_else(|| folder.corrupt(format!("merge {merge:?} is not of two tokens")))?;
        if is_plain_merge(left, right, is_structure) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    let unknown = model.unk_token.as_deref();
    let vocabulary: Vocab = model
        .vocab
        .iter()
        .filter(|(text, _)| !is_structure(text) || Some(text.as_str()) == unknown)
        .map(|(text, &token)| (text.clone(), token))
        .collect();
    let mut bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .byte_fallback(model.byte_fallback)
        .fuse_unk(model.fuse_unk)
        .ignore_merges(model.ignore_merges);
    if let Some(unknown) = unknown {
        bpe = bpe.unk_token(unknown.to_owned());
    }
    let mut tokenizer = Tokenizer::new(bpe.build().map_err(broken)?);
    let mut prefix = SpacePrefix::default();
    let normalizer = without_prefix(&folder.tokenizer.normalizer, &mut prefix);
    if let Some(normalizer) = read_part::<NormalizerWrapper>(folder, "normalizer", normalizer)? {
        tokenizer.with_normalizer(Some(normalizer)).map_err(broken)?;
    }
    let mut pre_tokenizer = without_prefix(&folder.tokenizer.pre_tokenizer, &mut prefix);
    look_once_for_trailing_blanks(&mut pre_tokenizer);
    if let Some(part) = read_part::<PreTokenizerWrapper>(folder, "pre_tokenizer", pre_tokenizer)? {
        tokenizer.with_pre_tokenizer(Some(part));
    }
    Ok((tokenizer, prefix))
}

fn read_part<T: DeserializeOwned>(
    folder: &TokenizerFolder,
    name: &str,
    part: Value,
) -> Result<Option<T>, LoadError> {
    serde_json::from_value(part)
        .map_err(|error| folder.unsupported(format!("{name} of tokenizer.json: {error}")))
}

/// A copy of a normalizer or pre-tokenizer that adds nothing before a text; records in `prefix` what it would have
/// added.
fn without_prefix(part: &Value, prefix: &mut SpacePrefix) -> Value {
    let mut part = part.clone();
    match part.get("type").and_then(Value::as_str) {
        Some("Sequence") => {
            for list in ["normalizers", "pretokenizers"] {
                let Some(Value::Array(parts)) = part.get_mut(list) else { continue };
                *parts = parts
                    .iter()
                    .map(|part| without_prefix(part, prefix))
                    .filter(|part| !part.is_null())
                    .collect();
            }
        }
        Some("Prepend") => {
            *prefix = SpacePrefix { before: PrefixedRuns::Every, unless_there: false };
            return Value::Null;
        }
        Some("Metaspace") => {
            let scheme = part.get("prepend_scheme").and_then(Value::as_str);
            let off = part.get("add_prefix_space") == Some(&Value::Bool(false));
            let before = match scheme {
                _ if off => PrefixedRuns::None,
                Some("never") => PrefixedRuns::None,
                Some("first") => PrefixedRuns::First,
                _ => PrefixedRuns::Every,
            };
            *prefix = SpacePrefix { before, unless_there: true };
            part["prepend_scheme"] = json!("never");
            part["add_prefix_space"] = json!(false);
        }
        Some("ByteLevel") if part.get("add_prefix_space") == Some(&Value::Bool(true)) => {
            *prefix = SpacePrefix { before: PrefixedRuns::Every, unless_there: true };
            part["add_prefix_space"] = json!(false);
        }
        _ => {}
    }
    part
}

/// Replaces a pattern that takes time quadratic in the length of the text by one with the same matches.
fn look_once_for_trailing_blanks(part: &mut Value) {
    if let Some(Value::Array(parts)) = part.get_mut("pretokenizers") {
        parts.iter_mut().for_each(look_once_for_trailing_blanks);
    }
    if let Some(pattern) = part.get_mut("pattern").and_then(|pattern| pattern.get_mut("Regex"))
        && pattern == TRAILING_BLANKS_AS_WRITTEN
    {
        *pattern = json!(TRAILING_BLANKS);
    }
}

/// Whether a part of tokenizer.json contains a part of this type.
fn mentions(part: &Value, kind: &str) -> bool {
    match part {
        Value::Object(fields) => {
            fields.get("type").and_then(Value::as_str) == Some(kind)
                || fields.values().any(|value| mentions(value, kind))
        }
        Value::Array(parts) => parts.iter().any(|part| mentions(part, kind)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
