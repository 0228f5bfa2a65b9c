//! Compares a real Gemma 3 with llama.cpp: a text longer than the window, with logits written by llama.cpp.
//!
//! ```text
//! llama-perplexity -m gemma-3-270m.gguf -f README.md -c 1024 --chunks 1 --kl-divergence-base gemma.logits
//! JURY_TEST_GEMMA=gemma-3-270m.gguf JURY_TEST_GEMMA_LOGITS=gemma.logits cargo test gemma -- --ignored
//! ```
//!
//! The file contains a text's tokens and, for those of its second half, the log-probabilities of the next token, in 16
//! bits.

use std::path::PathBuf;

use crate::distance::{divergence, log_softmax};
use crate::support::{config, load_file};

/// Bytes before the tokens.
const HEADER: usize = 20;
/// Every 15th position is compared.
const STRIDE: usize = 15;
/// Limit of the KL divergence, averaged over positions: measured 0.0056 (both sides round, each in its own way).
const MOST_DIVERGENCE: f64 = 0.01;

/// What llama.cpp wrote for one text.
struct Logits {
    tokens: Vec<u32>,
    vocabulary: usize,
    rows: Vec<u8>,
}

impl Logits {
    fn read(path: &PathBuf) -> Logits {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(&bytes[..8], b"_logits_");
        let words = |bytes: &[u8]| -> Vec<u32> {
            bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
        };
        let [length, vocabulary, texts] = words(&bytes[8..HEADER])[..] else { panic!() };
        assert_eq!(texts, 1);
        let (tokens, rows) = bytes[HEADER..].split_at(length as usize * 4);
        Logits { tokens: words(tokens), vocabulary: vocabulary as usize, rows: rows.to_vec() }
    }

    /// Log-probabilities of the token after the `index`th of the second half.
    fn row(&self, index: usize) -> Vec<f64> {
        let size = self.vocabulary.next_multiple_of(2) * 2 + 8;
        let row = &self.rows[index * size..][..size];
        let float = |at: usize| f64::from(f32::from_le_bytes(row[at..at + 4].try_into().unwrap()));
        let (scale, least) = (float(0), float(4));
        let codes = row[8..].as_chunks().0.iter().take(self.vocabulary);
        codes.map(|&code| f64::from(u16::from_le_bytes(code)) * scale + least).collect()
    }
}

fn named(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} names no file")).into()
}

/// KL divergence over the tokens whose probabilities are recorded; others are at e^-16 of the most probable.
fn divergence_where_known(truth: &[f64], found: &[f64]) -> f64 {
    let known = truth.iter().zip(found).filter(|&(&truth, _)| truth > -16.0);
    let (truth, found): (Vec<f64>, Vec<f64>) = known.unzip();
    divergence(&truth, &found)
}

#[test]
#[ignore = "needs Gemma 3 270M, and llama.cpp's logits of a text: see above"]
fn gemma3_is_near_llama_cpp_beyond_its_window() {
    let (path, logits) = (named("JURY_TEST_GEMMA"), named("JURY_TEST_GEMMA_LOGITS"));
    let mut logits = Logits::read(&logits);
    // llama.cpp's texts begin with the start token.
    logits.tokens[0] = 2;
    let half = logits.tokens.len() / 2;
    let mut engine = load_file(&path, &config(1));
    let (mut sum, mut worst, mut count) = (0.0, 0.0f64, 0);
    for index in (0..logits.tokens.len() - 1 - half).step_by(STRIDE) {
        let found = engine.logits_after(&logits.tokens[..=half + index]).unwrap();
        let distance = divergence_where_known(&logits.row(index), &log_softmax(&found));
        (sum, worst, count) = (sum + distance, worst.max(distance), count + 1);
    }
    let mean = sum / f64::from(count);
    println!("mean KL {mean:.5}, worst {worst:.4} over {count} positions");
    assert!(mean < MOST_DIVERGENCE, "mean KL {mean}");
}
