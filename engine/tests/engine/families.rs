//! Compares every family with transformers, on the tiny random models of `tests/fixtures` (made by `make.py` there).
//!
//! The candle device, whose keys, values and weights are floats here, must match the logits themselves. The CPU kernels
//! store keys and values in 8 bits and round queries likewise, which affects random models much more than trained ones.
//! Their limits are on the mean KL divergence and the RMS error of a logit: one and a half times the measured values,
//! to allow for changes of rounding. Measured with AVX-512, where logits have a deviation of about 7 (Gemma 2: capped
//! at 20):
//!
//! |             | floats, worst | own, mean KL | own, error |
//! |-------------|--------------:|-------------:|-----------:|
//! | llama       |        4.3e-5 |       0.0027 |      0.122 |
//! | qwen2       |        2.6e-5 |       0.0017 |      0.087 |
//! | qwen3       |        3.4e-5 |      0.00065 |      0.065 |
//! | gemma2      |        1.5e-5 |     0.000026 |      0.046 |
//! | gemma3_text |        1.5e-5 |     0.000003 |      0.034 |
//! | deepseek_v2 |        1.0e-4 |       0.0021 |      0.140 |

use std::path::{Path, PathBuf};

use jury_engine::{DeviceKind, Engine, EngineConfig};
use safetensors::SafeTensors;

use crate::distance::{divergence, log_softmax};
use crate::support::{config, load_file};

/// Greatest difference between a logit and transformers', computed in floats.
pub const MOST_LOGIT_ERROR: f32 = 1e-3;

/// Tokens, and the logits after each of the last of them.
pub struct Expected {
    pub sequences: Vec<Vec<u32>>,
    /// For each sequence, the shown logits in order.
    pub logits: Vec<Vec<Vec<f32>>>,
}

pub fn fixture(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("fixtures").join(family)
}

impl Expected {
    pub fn read(folder: &Path) -> Expected {
        let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let (tokens, logits) =
            (tensors.tensor("tokens").unwrap(), tensors.tensor("logits").unwrap());
        let words = |data: &[u8]| -> Vec<[u8; 4]> { data.as_chunks().0.to_vec() };
        let sequences = words(tokens.data())
            .chunks_exact(tokens.shape()[1])
            .map(|row| row.iter().map(|&word| u32::from_le_bytes(word)).collect())
            .collect();
        let [_, shown, vocabulary] = *logits.shape() else { panic!("{:?}", logits.shape()) };
        let rows: Vec<Vec<f32>> = words(logits.data())
            .chunks_exact(vocabulary)
            .map(|row| row.iter().map(|&word| f32::from_le_bytes(word)).collect())
            .collect();
        Expected { sequences, logits: rows.chunks_exact(shown).map(<[_]>::to_vec).collect() }
    }

    /// Visits the engine's logits at every shown position, with the expected ones.
    pub fn each(&self, engine: &mut Engine, mut visit: impl FnMut(&[f32], &[f32])) {
        for (tokens, shown) in self.sequences.iter().zip(&self.logits) {
            let first = tokens.len() - shown.len();
            for (index, expected) in shown.iter().enumerate() {
                visit(expected, &engine.logits_after(&tokens[..=first + index]).unwrap());
            }
        }
    }
}

/// Compares both paths with the family's logits; `divergence` (mean KL) and `error` (RMS, of a logit) bound the
/// distance of the CPU kernels.
fn hold(family: &str, most_divergence: f64, most_error: f64) {
    let folder = fixture(family);
    let expected = Expected::read(&folder);
    let candle =
        EngineConfig { device: DeviceKind::CandleCpu, prefill_chunk: Some(7), ..config(2) };
    let mut worst = 0.0f32;
    expected.each(&mut load_file(&folder, &candle), |expected, found| {
        assert_eq!(expected.len(), found.len());
        for (expected, found) in expected.iter().zip(found) {
            worst = worst.max((expected - found).abs());
        }
    });
    let (mut divergences, mut squares) = (Vec::new(), Vec::new());
    let own = EngineConfig { prefill_chunk: Some(7), ..config(2) };
    expected.each(&mut load_file(&folder, &own), |expected, found| {
        divergences.push(divergence(&log_softmax(expected), &log_softmax(found)));
        squares.extend(expected.iter().zip(found).map(|(a, b)| f64::from(a - b).powi(2)));
    });
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    let (divergence, error) = (mean(&divergences), mean(&squares).sqrt());
    println!(
        "{family}: floats within {worst:.1e}; own: mean KL {divergence:.1e}, error {error:.4}"
    );
    assert!(worst < MOST_LOGIT_ERROR, "{family}: a logit is {worst} from transformers'");
    assert!(divergence < most_divergence, "{family}: mean KL {divergence}");
    assert!(error < most_error, "{family}: error of logits {error}");
}

#[test]
fn llama_gives_the_logits_of_transformers() {
    hold("llama", 0.005, 0.2);
}

#[test]
fn qwen2_gives_the_logits_of_transformers() {
    hold("qwen2", 0.003, 0.14);
}

#[test]
fn qwen3_gives_the_logits_of_transformers() {
    hold("qwen3", 0.0012, 0.1);
}

#[test]
fn gemma2_gives_the_logits_of_transformers() {
    hold("gemma2", 5e-5, 0.07);
}

#[test]
fn gemma3_gives_the_logits_of_transformers() {
    hold("gemma3_text", 5e-5, 0.06);
}

#[test]
fn deepseek2_gives_the_logits_of_transformers() {
    hold("deepseek_v2", 0.009, 0.25);
}
