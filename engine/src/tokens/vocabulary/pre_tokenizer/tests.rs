//! Compares with llama.cpp's tokens of hostile texts, recorded by tests/fixtures/pre_tokenizers.py with the test
//! model's vocabulary.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

use super::super::gguf::with_pre_tokenizer;
use super::super::{Before, Vocabulary};
use super::*;
use crate::gguf::GgufFile;

#[derive(serde::Deserialize)]
struct Recorded {
    texts: Vec<String>,
    tokens: BTreeMap<String, Vec<Vec<u32>>>,
}

/// The test model, found as by the engine's integration tests.
fn model() -> GgufFile {
    let path = std::env::var_os("JURY_TEST_MODEL").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
        cache.expect("a home folder").join("jury/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    });
    GgufFile::open(&path).expect("`make test` fetches the model, or set JURY_TEST_MODEL")
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../../../../tests/fixtures/pre_tokenizers.json")).unwrap()
}

fn cut(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    vocabulary.encode_plain(text, Before::Nothing, &mut tokens).unwrap();
    tokens
}

/// The published tokenizers compose letters and marks first; llama.cpp does not.
fn differs_on_purpose(pre_tokenizer: &PreTokenizer, text: &str) -> bool {
    pre_tokenizer.normalises && text.starts_with("e\u{301}a\u{300}")
}

#[test]
fn hostile_texts_are_cut_as_llama_cpp_cuts_them() {
    let (file, recorded) = (model(), recorded());
    let mut wrong = Vec::new();
    for (name, expected) in &recorded.tokens {
        let pre_tokenizer = PreTokenizer::of_name(name).unwrap();
        let vocabulary = with_pre_tokenizer(&file, pre_tokenizer).unwrap();
        for (text, expected) in recorded.texts.iter().zip(expected) {
            let equal = cut(&vocabulary, text) == *expected;
            if equal == differs_on_purpose(pre_tokenizer, text) {
                wrong.push((name, text, equal));
            }
        }
    }
    assert!(wrong.is_empty(), "name, text, whether the tokens are equal: {wrong:#?}");
}

/// The pieces of a text.
fn pieces(pattern: &str, text: &str) -> Vec<String> {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap();
    words(&split.into(), text)
}

fn words(pre_tokenizer: &PreTokenizerWrapper, text: &str) -> Vec<String> {
    let mut text = PreTokenizedString::from(text);
    pre_tokenizer.pre_tokenize(&mut text).unwrap();
    let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    splits.into_iter().map(|(piece, ..)| piece.to_owned()).collect()
}

#[test]
fn trailing_blanks_are_those_of_the_pattern_as_it_is_written() {
    let alphabet = [" ", "\t", "\n", "\r", "\u{3000}", "\u{85}", "a", "1"];
    let mut state = 7u64;
    for length in (0..12).cycle().take(6_000) {
        let mut text = String::new();
        for _ in 0..length {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(alphabet[(state >> 61) as usize]);
        }
        let expected = pieces(TRAILING_BLANKS_AS_WRITTEN, &text);
        assert_eq!(pieces(TRAILING_BLANKS, &text), expected, "{text:?}");
    }
}

/// With the original pattern, this takes most of an hour.
#[test]
fn a_million_blanks_before_a_digit_are_cut_at_once() {
    let text = format!("{}1", " ".repeat(1_000_000));
    for known in &KNOWN {
        let words = words(&known.build().unwrap(), &text);
        assert_eq!(words.concat().chars().count(), 1_000_001, "{:?}", known.names);
    }
}

#[test]
fn a_way_that_is_not_known_is_refused_with_those_that_are() {
    let why = PreTokenizer::of_name("of-tomorrow").expect_err("not known");
    for known in ["\"of-tomorrow\"", "deepseek-llm", "qwen2", "llama-v3", "tokenizer.json"] {
        assert!(why.contains(known), "{why}");
    }
}

#[test]
fn no_two_ways_have_one_name() {
    let mut names: Vec<&str> = KNOWN.iter().flat_map(|known| known.names).copied().collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}
