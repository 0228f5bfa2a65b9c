//! The physical limits of this machine, measured, and what they mean for a model.
//!
//! [`measure`] takes about a second. [`Limits::bound`] is arithmetic: with
//!
//! ```text
//! W weights of the layers, H of the head, B the bytes of both, as the file stores them
//! A = layers x query heads x head size, C = bytes of keys and values of a token
//!
//!                  memory                weights          attention
//! prefill of P     B                     2 (W P + H)      4 A P (P + 1) / 2
//! decode step, k   B + C (P + k g)       2 (W + H) k      4 A k (P + g)
//! ```
//!
//! where each of the k samples has g tokens of its own after a shared prompt of P, the time cannot be less than
//! `max(memory / read rate, (weights + attention) / integer rate)`: memory can be read while the processor computes.
//! All operations are products and additions of 8-bit integers, two per multiply-add. Attention has one multiply-add
//! for each element of a key and of a value, the least that any engine with 8-bit keys and values needs (this one needs
//! more, since its softmax weights have two bytes). Norms, softmax, sampling and writes are left out too, so no engine
//! reaches the bound.
//!
//! The bound does not hold for engines that store weights in fewer bits than the file, or keys and values in fewer than
//! this one, or that multiply in fewer than 8 bits.

mod measure;

pub use measure::measure;

use std::path::Path;

use serde::Serialize;

use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::Shape;
use crate::tensor::TensorInfo;

/// The most that this machine can do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// Threads used by the measurement.
    pub threads: usize,
    /// The instruction used for the integer products.
    pub integer_instruction: String,
    /// 8-bit multiplications and additions, in 10^9 operations per second (a multiply-add counts as two).
    pub integer_gops: f64,
    /// 32-bit fused multiply-adds, in 10^9 operations per second (each counts as two). The bound does not use it: an
    /// engine that computes in 8 bits needs floats only for work that the bound leaves out.
    pub float_gflops: f64,
    /// Read rate of memory far larger than the caches, in 10^9 bytes per second.
    pub memory_gbps: f64,
}

/// What a model costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelCost {
    /// Bytes of the weights that every step reads: layers and head, as the file stores them.
    pub weight_bytes: u64,
    /// Weights that every token is multiplied with.
    pub layer_weights: u64,
    /// Weights of the head, used only for tokens whose logits are wanted.
    pub head_weights: u64,
    /// Layers x query heads x head size.
    pub attention_width: u64,
    /// Bytes of a token's keys and values.
    pub kv_bytes_per_token: u64,
}

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A prompt computed once, alone, with one row of logits at its end.
    Prefill {
        /// Its length in tokens.
        prompt: u64,
    },
    /// One token for each of several samples of one prompt.
    DecodeStep {
        /// Tokens of the shared prompt.
        prompt: u64,
        /// Tokens that each sample already has of its own.
        generated: u64,
        /// Number of samples.
        samples: u64,
    },
}

/// The least time for a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bound {
    /// Tokens of the work (of the prompt, or one for each sample) divided by the least time.
    pub tokens_per_second: f64,
    /// Time to read weights, keys and values.
    pub memory_seconds: f64,
    /// Time of the products with weights.
    pub weight_seconds: f64,
    /// Time of the products with keys and values.
    pub attention_seconds: f64,
}

// === impl Limits ===

impl Limits {
    /// The least time that this machine needs; the module header has the formulas.
    pub fn bound(&self, model: &ModelCost, work: Work) -> Bound {
        let ModelCost { weight_bytes, kv_bytes_per_token, .. } = *model;
        let [layers, head, width] =
            [model.layer_weights, model.head_weights, model.attention_width].map(|n| n as f64);
        let (tokens, bytes, with_weights, attention) = match work {
            Work::Prefill { prompt } => {
                let p = prompt as f64;
                let attention = 4.0 * width * p * (p + 1.0) / 2.0;
                (p, weight_bytes as f64, 2.0 * (layers * p + head), attention)
            }
            Work::DecodeStep { prompt, generated, samples } => {
                let (p, g, k) = (prompt as f64, generated as f64, samples as f64);
                let bytes = weight_bytes as f64 + kv_bytes_per_token as f64 * (p + k * g);
                (k, bytes, 2.0 * (layers + head) * k, 4.0 * width * k * (p + g))
            }
        };
        let memory_seconds = bytes / (self.memory_gbps * 1e9);
        let integer_seconds = |operations: f64| operations / (self.integer_gops * 1e9);
        let weight_seconds = integer_seconds(with_weights);
        let attention_seconds = integer_seconds(attention);
        let seconds = memory_seconds.max(weight_seconds + attention_seconds);
        Bound {
            tokens_per_second: tokens / seconds,
            memory_seconds,
            weight_seconds,
            attention_seconds,
        }
    }
}

// === impl ModelCost ===

impl ModelCost {
    /// Counts the weights of a model file, without reading them.
    ///
    /// # Errors
    /// As [`crate::Engine::load`].
    pub fn of_file(path: &Path) -> Result<ModelCost, LoadError> {
        let files = ModelFiles::open(path)?;
        let shape = Shape::read(&files)?;
        let head = files.tensor(files.head(), &[shape.width, shape.outputs])?;
        let mut layer_weights = 0;
        let mut weight_bytes = stored_bytes(head);
        for (name, tensor) in files.tensors() {
            let in_a_layer = name.starts_with("blk.");
            if in_a_layer {
                weight_bytes += stored_bytes(tensor);
            }
            if in_a_layer && tensor.dimensions.len() > 1 {
                layer_weights += tensor.elements();
            }
        }
        Ok(ModelCost {
            weight_bytes,
            layer_weights,
            head_weights: head.elements(),
            attention_width: (shape.layers * shape.heads * shape.key_size) as u64,
            kv_bytes_per_token: crate::model::kv_bytes_per_token(&shape),
        })
    }
}

fn stored_bytes(tensor: &TensorInfo) -> u64 {
    let (weights, bytes) = tensor.block_type.block();
    tensor.elements() / weights as u64 * bytes as u64
}

// === impl Bound ===

impl Bound {
    /// The slowest part: `memory` or `arithmetic`.
    pub fn limited_by(&self) -> &'static str {
        let arithmetic = self.weight_seconds + self.attention_seconds;
        if self.memory_seconds >= arithmetic { "memory" } else { "arithmetic" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose limits were measured in another way.
    fn machine() -> Limits {
        Limits {
            threads: 2,
            integer_instruction: String::new(),
            integer_gops: 1_420.0,
            float_gflops: 321.0,
            memory_gbps: 29.0,
        }
    }

    /// SmolLM2-135M in Q8_0: 106.2 M weights in layers, 28.3 M in the head, 142.9 MB.
    fn smollm2() -> ModelCost {
        let (layer_weights, head_weights) = (106_168_320, 28_311_552);
        ModelCost {
            weight_bytes: (layer_weights + head_weights) / 32 * 34,
            layer_weights,
            head_weights,
            attention_width: 30 * 576,
            // One byte per element of 3 heads of 64, and 4 bytes of scales for each head's key and value.
            kv_bytes_per_token: 30 * 2 * 3 * (64 + 4),
        }
    }

    fn rate(work: Work) -> f64 {
        machine().bound(&smollm2(), work).tokens_per_second
    }

    /// Seconds by hand, with W = 106.17e6, H = 28.31e6, B = 142.88e6, A = 17,280, C = 12,240, 1,420 Gop/s and 29 GB/s:
    ///
    /// * prefill of 512: (2 (512 W + H) + 4 A 512 513 / 2) / 1420e9 = (108.8e9 + 9.1e9) / 1420e9 = 83.0 ms;
    /// * a step of 1: (B + C (512 + 32)) / 29e9 = 149.5e6 / 29e9 = 5.16 ms;
    /// * a step of 8: (B + C (512 + 256)) / 29e9 = 152.3e6 / 29e9 = 5.25 ms;
    /// * a step of 32: 32 (2 (W + H) + 4 A 544) / 1420e9 = 32 (269.0e6 + 37.6e6) / 1420e9 = 6.91 ms.
    #[test]
    fn the_bounds_of_a_known_machine_are_the_known_ones() {
        let step = |samples| Work::DecodeStep { prompt: 512, generated: 32, samples };
        for (work, expected) in [
            (Work::Prefill { prompt: 512 }, 512.0 / 0.0830),
            (step(1), 1.0 / 0.005_16),
            (step(8), 8.0 / 0.005_25),
            (step(32), 32.0 / 0.006_91),
        ] {
            let found = rate(work);
            assert!((found / expected - 1.0).abs() < 0.005, "{work:?}: {found:.0}, not {expected}");
        }
    }

    #[test]
    fn floats_make_no_bound() {
        let work = Work::DecodeStep { prompt: 4_096, generated: 32, samples: 32 };
        let slow_floats = Limits { float_gflops: 1.0, ..machine() };
        assert_eq!(slow_floats.bound(&smollm2(), work), machine().bound(&smollm2(), work));
    }

    #[test]
    fn few_samples_wait_for_memory_and_many_for_arithmetic() {
        let limited_by = |samples| {
            let work = Work::DecodeStep { prompt: 512, generated: 32, samples };
            machine().bound(&smollm2(), work).limited_by()
        };
        assert_eq!((limited_by(1), limited_by(32)), ("memory", "arithmetic"));
    }

    #[test]
    fn a_longer_prompt_never_makes_a_token_cheaper_to_decode() {
        let step = |prompt| rate(Work::DecodeStep { prompt, generated: 32, samples: 8 });
        assert!(step(256) > step(512) && step(512) > step(4_096));
    }
}
