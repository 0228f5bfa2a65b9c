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
//! `max(memory / read rate, (weights + attention) / integer rate)`: memory can be read while the processor counts. All
//! operations are products and additions of 8-bit integers, two a multiply-add. Attention has one multiply-add for each
//! element of a key and of a value, the least that any engine with 8-bit keys and values needs (this one looks at its
//! queries in two rows of codes, and so needs more). Norms, softmax, sampling and writes are left out too, so no engine
//! reaches the bound.
//!
//! Not promised: a bound for engines that store weights in fewer bits than the file, keys and values in fewer than
//! this one, or that multiply in fewer than 8 bits.

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::kernels::Level;
use crate::kernels::peak::{Floats, Integers, Operand, read_all};
use crate::machine;
use crate::model::Shape;
use crate::tensor::TensorInfo;

/// Time for each window of arithmetic; the best of [`WINDOWS`] counts. Short, so that on a machine with other work one
/// of them is likely to be undisturbed.
const WINDOW: Duration = Duration::from_millis(15);
/// Windows of arithmetic, and passes over memory.
const WINDOWS: usize = 16;
/// Passes between two looks at the clock: some ten microseconds.
const PASSES: u64 = 16;
/// Times that the last cache level fits into the memory that is read.
const CACHES: u64 = 4;
/// Least memory that is read, in bytes, where the cache's size is unknown or small.
const LEAST_READ_BYTES: u64 = 256 << 20;
/// Most memory that is read, in bytes: filling it takes time too.
const MOST_READ_BYTES: u64 = 1 << 30;

/// What this machine can do at most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limits {
    /// Threads that worked at once.
    pub threads: usize,
    /// The instruction that made the integer products.
    pub integer_instruction: String,
    /// 8-bit products and their additions, in 10^9 operations a second (a product and an addition are two).
    pub integer_gops: f64,
    /// 32-bit fused multiply-adds, in 10^9 operations a second (each counts two). No bound is made of it: an engine
    /// that computes in 8 bits needs floats only where the bound leaves work out.
    pub float_gflops: f64,
    /// Reading of memory far larger than the caches, in 10^9 bytes a second.
    pub memory_gbps: f64,
}

/// What a model costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelCost {
    /// Bytes of the weights that every step reads: layers and head, as the file stores them.
    pub weight_bytes: u64,
    /// Weights that every token is multiplied with.
    pub layer_weights: u64,
    /// Weights of the head, for tokens whose logits are wanted.
    pub head_weights: u64,
    /// Layers x query heads x head size.
    pub attention_width: u64,
    /// Bytes of a token's keys and values.
    pub kv_bytes_per_token: u64,
}

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A prompt, alone and once; one row of logits at its end.
    Prefill {
        /// Its length in tokens.
        prompt: u64,
    },
    /// One token for each of some samples of one prompt.
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
    /// Tokens of the work (of the prompt, or one for each sample) by the least time.
    pub tokens_per_second: f64,
    /// Reading of weights, keys and values.
    pub memory_seconds: f64,
    /// Products with weights.
    pub weight_seconds: f64,
    /// Products with keys and values.
    pub attention_seconds: f64,
}

/// Measures for about a second, with so many threads at once. Everything else that runs makes the result smaller.
pub fn measure(threads: usize) -> Limits {
    let threads = threads.max(1);
    let (integers, floats) = (Integers::detect(), Floats::detect());
    let integer_gops = arithmetic(threads, |operand| integers.work(operand, PASSES));
    let float_gflops = arithmetic(threads, |operand| floats.work(operand, PASSES));
    Limits {
        threads,
        integer_instruction: integers.name().to_owned(),
        integer_gops: integer_gops / 1e9,
        float_gflops: float_gflops / 1e9,
        memory_gbps: memory(threads) / 1e9,
    }
}

/// Operations a second in the best window.
fn arithmetic(threads: usize, work: impl Fn(&Operand) -> u64 + Sync) -> f64 {
    best(threads, |_thread| {
        let operand = Operand::new();
        let work = &work;
        move || {
            let started = Instant::now();
            let mut operations = 0;
            while started.elapsed() < WINDOW {
                operations += work(&operand);
            }
            operations as f64
        }
    })
}

/// Bytes a second in the best pass.
fn memory(threads: usize) -> f64 {
    let level = Level::detect();
    let room = machine::available_memory_bytes() / 4;
    let wanted = last_cache_bytes().unwrap_or(0) * CACHES;
    let bytes = wanted.clamp(LEAST_READ_BYTES, MOST_READ_BYTES).min(room);
    let words = (bytes as usize / threads / 8).max(1);
    best(threads, |_thread| {
        // Written by the thread that will read it: on large machines that is the memory next to it.
        let memory = vec![1_u64; words];
        move || {
            let mut sum = 0;
            read_all(level, &memory, &mut sum);
            std::hint::black_box(sum);
            (words * 8) as f64
        }
    })
}

/// Lets all threads do the same work [`WINDOWS`] times, always starting together; gives the best sum of their work by
/// the time until the last was done.
fn best<W: FnMut() -> f64>(threads: usize, prepare: impl Fn(usize) -> W + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let member = |thread: usize| -> Vec<(Instant, Instant, f64)> {
        let mut work = prepare(thread);
        let window = |_| {
            barrier.wait();
            let started = Instant::now();
            let done = work();
            (started, Instant::now(), done)
        };
        (0..WINDOWS).map(window).collect()
    };
    let members: Vec<Vec<_>> = std::thread::scope(|scope| {
        let spawned: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || member(thread))).collect();
        let mut members = vec![member(0)];
        // A member that panicked leaves the others at the barrier: nothing in it can.
        members.extend(spawned.into_iter().filter_map(|thread| thread.join().ok()));
        members
    });
    let rate = |window: usize| {
        let of_window = || members.iter().filter_map(|member| member.get(window));
        let started = of_window().map(|&(started, ..)| started).min()?;
        let ended = of_window().map(|&(_, ended, _)| ended).max()?;
        let done: f64 = of_window().map(|&(.., done)| done).sum();
        Some(done / ended.duration_since(started).as_secs_f64().max(1e-9))
    };
    (0..WINDOWS).filter_map(rate).fold(0.0, f64::max)
}

/// Size of the largest cache that the system tells of.
fn last_cache_bytes() -> Option<u64> {
    let size = |index: u32| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().strip_suffix('K')?.parse::<u64>().ok()
    };
    (0..8).filter_map(size).max().map(|kibibytes| kibibytes * 1024)
}

// === impl Limits ===

impl Limits {
    /// The least time that this machine needs; the formulas stand in the module's header.
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
        let embedding = files.tensor("token_embd.weight", &[shape.width, shape.vocabulary])?;
        // Without a head of its own, a model multiplies with its embedding.
        let head = files.tensors().get("output.weight").unwrap_or(embedding);
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
            kv_bytes_per_token: crate::model::describe(&files, &shape)?.kv_bytes_per_token,
        })
    }
}

fn stored_bytes(tensor: &TensorInfo) -> u64 {
    let (weights, bytes) = tensor.block_type.block();
    tensor.elements() / weights as u64 * bytes as u64
}

// === impl Bound ===

impl Bound {
    /// What takes longest: `memory` or `arithmetic`.
    pub fn limited_by(&self) -> &'static str {
        let arithmetic = self.weight_seconds + self.attention_seconds;
        if self.memory_seconds >= arithmetic { "memory" } else { "arithmetic" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose limits were measured by other means.
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
            // A byte an element of 3 heads of 64, 4 bytes of scales for each head's key and value.
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

    #[test]
    fn what_is_measured_is_positive_and_finite() {
        let found = measure(2);
        for value in [found.integer_gops, found.float_gflops, found.memory_gbps] {
            assert!(value.is_finite() && value > 0.0, "{found:?}");
        }
        assert_eq!(found.threads, 2);
    }
}
