//! Against llama.cpp's tokens of hostile texts, recorded by tests/fixtures/pre_tokenizers.py, with the vocabulary of
//! the test model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::gguf::with_pre_tokenizer;
use super::super::{Before, Vocabulary};
use super::*;
use crate::gguf::GgufFile;

#[derive(serde::Deserialize)]
struct Recorded {
    texts: Vec<String>,
    tokens: BTreeMap<String, Vec<Vec<u32>>>,
}

/// The test model, as the tests of whole engines find it.
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

/// The published tokenizers compose letters and marks first, which llama.cpp does not.
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
