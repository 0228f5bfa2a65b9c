//! Small GGUF files, written for tests.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use tempfile::TempDir;

/// Token kinds of the file format.
pub(crate) const CONTROL: u32 = 3;
pub(crate) const WHOLE: u32 = 4;
const PLAIN: u32 = 1;
const UNKNOWN: u32 = 2;
const BYTE: u32 = 6;

/// A metadata value.
pub(crate) enum Entry {
    Number(u32),
    Bool(bool),
    Text(&'static str),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Numbers(Vec<u32>),
}

/// Tokens by their text.
pub(crate) static SPELLED: LazyLock<HashMap<String, u32>> =
    LazyLock::new(|| (0..).zip(tokens()).map(|(token, (text, ..))| (text, token)).collect());

/// Text, score and kind, as in a SentencePiece model like Llama 2's.
fn tokens() -> Vec<(String, f32, u32)> {
    let joined = [
        "\u{2581}t",
        "he",
        "\u{2581}the",
        "in",
        "\u{2581}a",
        "er",
        "\u{2581}in",
        "aa",
        "aaa",
        "aaaa",
        "\u{2581}\u{2581}",
        "</",
        "s>",
        "ab",
        "abab",
        "\u{2581}\u{2581}\u{2581}\u{2581}",
        "xy",
    ];
    let mut tokens = vec![
        ("<unk>".to_owned(), 0.0, UNKNOWN),
        ("<s>".to_owned(), 0.0, CONTROL),
        ("</s>".to_owned(), 0.0, CONTROL),
    ];
    tokens.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, BYTE)));
    tokens.extend(
        (0i16..).zip(joined).map(|(rank, text)| (text.to_owned(), -f32::from(rank), PLAIN)),
    );
    let single = "\u{2581}theinarsb</>.".chars();
    tokens.extend(
        (0i16..)
            .zip(single)
            .map(|(rank, character)| (character.to_string(), -1000.0 - f32::from(rank), PLAIN)),
    );
    let user_defined = ["\n", "\n\n", "<h1>", "<think>"];
    tokens.extend(user_defined.map(|text| (text.to_owned(), -1000.0, WHOLE)));
    tokens
}

/// The tokenizer metadata of a file.
pub(crate) fn sentence_piece_entries() -> Vec<(&'static str, Entry)> {
    let tokens = tokens();
    let texts = tokens.iter().map(|(text, ..)| text.clone()).collect();
    vec![
        ("tokenizer.ggml.model", Entry::Text("llama")),
        ("tokenizer.ggml.tokens", Entry::Texts(texts)),
        ("tokenizer.ggml.scores", Entry::Floats(tokens.iter().map(|token| token.1).collect())),
        ("tokenizer.ggml.token_type", Entry::Numbers(tokens.iter().map(|token| token.2).collect())),
        ("tokenizer.ggml.bos_token_id", Entry::Number(1)),
        ("tokenizer.ggml.eos_token_id", Entry::Number(2)),
        ("tokenizer.ggml.unknown_token_id", Entry::Number(0)),
    ]
}

/// The file lives as long as its folder.
pub(crate) fn write(entries: &[(&str, Entry)]) -> (TempDir, PathBuf) {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    for (key, entry) in entries {
        put_text(&mut bytes, key);
        entry.put(&mut bytes);
    }
    bytes.extend([0; 64]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("written.gguf");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

impl Entry {
    /// Writes the format's number for the type, and the value.
    fn put(&self, bytes: &mut Vec<u8>) {
        match self {
            Entry::Number(number) => {
                bytes.extend(4u32.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Entry::Bool(flag) => {
                bytes.extend(7u32.to_le_bytes());
                bytes.push(u8::from(*flag));
            }
            Entry::Text(text) => {
                bytes.extend(8u32.to_le_bytes());
                put_text(bytes, text);
            }
            Entry::Texts(texts) => {
                put_list(bytes, 8, texts.len());
                texts.iter().for_each(|text| put_text(bytes, text));
            }
            Entry::Floats(floats) => {
                put_list(bytes, 6, floats.len());
                floats.iter().for_each(|float| bytes.extend(float.to_le_bytes()));
            }
            Entry::Numbers(numbers) => {
                put_list(bytes, 4, numbers.len());
                numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            }
        }
    }
}

fn put_list(bytes: &mut Vec<u8>, kind: u32, length: usize) {
    bytes.extend(9u32.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend((length as u64).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
