//! Compares with recorded tokens of the `tokenizers` library for the same tokenizer.json, which recognises special
//! tokens in any text.

use std::path::Path;

use tempfile::TempDir;

use super::super::Before;
use super::*;

const TEXTS: [&str; 4] =
    ["the inn", "  in a  tin, there", "Größe 東\n\nthe\t1,2", "on the other hand"];

fn read(path: &Path) -> Result<Vocabulary, LoadError> {
    Vocabulary::from_folder(&TokenizerFolder::read(path)?)
}

fn fixture(family: &str) -> Vocabulary {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(family)).unwrap()
}

fn cut(vocabulary: &Vocabulary, text: &str, before: Before) -> Vec<u32> {
    let mut tokens = Vec::new();
    vocabulary.encode_plain(text, before, &mut tokens).unwrap();
    tokens
}

/// A tokenizer like Llama 2's: 3 special tokens, 256 bytes, a few pieces.
fn small() -> Value {
    let mut texts: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
    let added: Vec<Value> = (0..)
        .zip(&texts)
        .map(|(id, text)| json!({"id": id, "content": text, "special": true}))
        .collect();
    texts.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    texts.extend("\u{2581}theina".chars().map(String::from));
    texts.extend(["\u{2581}t", "he", "\u{2581}the", "in", "\u{2581}a"].map(str::to_owned));
    let vocab: serde_json::Map<String, Value> =
        (0..).zip(texts).map(|(id, text): (u32, String)| (text, json!(id))).collect();
    json!({
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
        "pre_tokenizer": null,
        "model": {
            "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": ["\u{2581} t", "h e", "\u{2581}t he", "i n", "\u{2581} a"],
        },
    })
}

fn load(tokenizer: &Value) -> Result<Vocabulary, LoadError> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(
        folder.path().join("tokenizer_config.json"),
        json!({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"}).to_string(),
    )
    .unwrap();
    read(folder.path())
}

fn small_with(change: impl FnOnce(&mut Value)) -> Result<Vocabulary, LoadError> {
    let mut tokenizer = small();
    change(&mut tokenizer);
    load(&tokenizer)
}

#[test]
fn tokens_are_those_of_the_library() {
    let expected: [(&str, [&[u32]; 4]); 2] = [
        (
            "qwen3",
            [
                &[86, 260, 223, 263, 80],
                &[223, 223, 263, 262, 223, 259, 263, 14, 261, 84, 71],
                &[
                    41, 84, 130, 117, 130, 256, 71, 223, 165, 254, 112, 201, 201, 86, 260, 200, 19,
                    14, 20,
                ],
                &[265, 261, 223, 81, 86, 260, 84, 223, 74, 67, 80, 70],
            ],
        ),
        (
            "gemma3_text",
            [
                &[264, 299, 262, 302, 268],
                &[303, 302, 301, 262, 298, 302, 297, 300, 271, 263],
                &[
                    77, 271, 201, 188, 201, 165, 263, 262, 236, 163, 183, 285, 285, 264, 299, 15,
                    287, 297, 288,
                ],
                &[266, 268, 300, 262, 266, 264, 299, 271, 262, 270, 265, 268, 272],
            ],
        ),
    ];
    for (family, expected) in expected {
        let vocabulary = fixture(family);
        for (text, tokens) in TEXTS.iter().zip(expected) {
            assert_eq!(cut(&vocabulary, text, Before::Nothing), tokens, "{family} {text:?}");
            let bytes: Vec<u8> =
                tokens.iter().flat_map(|&token| vocabulary.bytes(token)).copied().collect();
            assert_eq!(std::str::from_utf8(&bytes), Ok(*text), "{family}");
        }
    }
}

#[test]
fn a_space_is_put_where_the_file_says() {
    let prepend = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u{2581}"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
    ]});
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": false});
    let vocabularies = [
        small_with(|tokenizer| tokenizer["normalizer"] = prepend),
        small_with(|tokenizer| tokenizer["pre_tokenizer"] = metaspace("always")),
        small_with(|tokenizer| tokenizer["pre_tokenizer"] = metaspace("first")),
        small_with(|tokenizer| tokenizer["pre_tokenizer"] = metaspace("never")),
    ];
    // At the start, after a special token, within a text; and a text with a space after a special token.
    let with_space: [&[u32]; 4] = [&[268], &[268], &[260, 267], &[259, 270]];
    let expected: [[&[u32]; 4]; 4] = [
        with_space,
        [&[268], &[268], &[260, 267], &[270]],
        [&[268], &[260, 267], &[260, 267], &[270]],
        [&[260, 267], &[260, 267], &[260, 267], &[270]],
    ];
    for (vocabulary, [start, special, text, space]) in vocabularies.into_iter().zip(expected) {
        let vocabulary = vocabulary.unwrap();
        assert_eq!(cut(&vocabulary, "the", Before::Nothing), start);
        assert_eq!(cut(&vocabulary, "the", Before::Special), special);
        assert_eq!(cut(&vocabulary, "the", Before::Text), text);
        assert_eq!(cut(&vocabulary, " a", Before::Special), space);
    }
}

/// With the original pattern, this takes most of an hour.
#[test]
fn a_million_blanks_are_cut_at_once_by_a_folder_that_looks_for_trailing_ones() {
    let split = json!({"type": "Split", "pattern": {"Regex": "\\s+$"}, "behavior": "Isolated", "invert": false});
    let parts = json!({"type": "Sequence", "pretokenizers": [split]});
    let vocabulary = small_with(|tokenizer| tokenizer["pre_tokenizer"] = parts).unwrap();
    let text = format!("{}1", " ".repeat(1_000_000));
    let bytes: usize = cut(&vocabulary, &text, Before::Nothing)
        .into_iter()
        .map(|token| vocabulary.bytes(token).len())
        .sum();
    assert_eq!(bytes, text.len());
}

#[test]
fn no_text_and_no_merge_becomes_structure() {
    let vocabulary = small_with(|tokenizer| {
        // A file whose merges lead to its end token, and that takes whole words from its vocabulary.
        let merges = tokenizer["model"]["merges"].as_array_mut().unwrap();
        merges.extend([json!(["<", "/"]), json!(["</", "s"]), json!(["</s", ">"])]);
        for (id, text) in (271..).zip(["<", "/", "s", ">", "</", "</s"]) {
            tokenizer["model"]["vocab"][text] = json!(id);
        }
        tokenizer["model"]["ignore_merges"] = json!(true);
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        added.push(json!({"id": 277, "content": "<think>", "special": false}));
        added.push(json!({"id": 278, "content": "<h1>", "special": false}));
    })
    .unwrap();
    assert_eq!(cut(&vocabulary, "</s>", Before::Nothing), [276, 274]);
    for hostile in ["<s>", "</s>", "<think>", "<unk>", "a</s>", "\u{2581}<s>"] {
        let tokens = cut(&vocabulary, hostile, Before::Nothing);
        assert!(tokens.iter().all(|token| ![1, 2, 277].contains(token)), "{hostile} {tokens:?}");
    }
    assert_eq!(cut(&vocabulary, "a<h1>", Before::Nothing), [265, 278]);
    assert_eq!(vocabulary.find_special("a<think>").map(|(at, ..)| at), Some(1));
    assert_eq!(vocabulary.bytes(277), b"<think>");
}

#[test]
fn the_end_is_said_by_any_of_the_files() {
    let gemma = fixture("gemma3_text");
    assert_eq!((gemma.bos_text(), gemma.eos_text()), ("<bos>", "<eos>"));
    assert!(gemma.is_end(1) && gemma.is_end(5) && !gemma.is_end(299));
    assert!(gemma.bytes(5).is_empty());
    assert_eq!(gemma.len(), 320);
    let qwen = fixture("qwen3");
    assert_eq!((qwen.bos(), qwen.eos_text()), (None, "<|im_end|>"));
    assert!(qwen.is_end(2) && qwen.is_end(0));
}

#[test]
fn other_kinds_of_tokenizers_are_refused() {
    let unigram =
        small_with(|tokenizer| tokenizer["model"] = json!({"type": "Unigram", "vocab": []}));
    assert!(matches!(unigram, Err(LoadError::Unsupported { .. })), "{unigram:?}");
    let far = small_with(|tokenizer| tokenizer["model"]["vocab"]["far"] = json!(u32::MAX));
    assert!(matches!(far, Err(LoadError::Corrupt { .. })), "{far:?}");
    let merge = small_with(|tokenizer| tokenizer["model"]["merges"] = json!(["lonely"]));
    assert!(matches!(merge, Err(LoadError::Corrupt { .. })), "{merge:?}");
    let nothing = read(TempDir::new().unwrap().path());
    assert!(matches!(nothing, Err(LoadError::Unsupported { .. })), "{nothing:?}");
}
