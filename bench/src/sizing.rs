//! How many workers a training step needs: pure arithmetic, for `jury plan`.
//!
//! ```text
//! samples        = groups x k
//! worker seconds = samples x critique tokens / decode rate + groups x orders x prompt tokens / prefill rate
//! by work        = ceil(worker seconds x (1 + spare) / step)
//! by rounds      = ceil(samples / slots of a worker / rounds that fit in a step)
//! workers        = the larger of the two
//! ```
//!
//! A worker's decode rate is the total over all its samples, and one sample gets its part of it. So a step never
//! takes less time than one sample, however many workers there are.

use serde::Serialize;

/// The requirements of a training step, and the performance of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ask {
    /// Queries per step, each with responses that are judged together.
    pub groups: u32,
    /// Samples per group.
    pub k: u32,
    /// Prompts per group: different orders of its responses.
    pub orders: u32,
    /// Tokens per prompt.
    pub prompt_tokens: u32,
    /// Tokens generated per sample.
    pub critique_tokens: u32,
    /// Seconds within which a step needs all its rewards; above 0.
    pub step_seconds: f64,
    /// Samples that a worker draws at once; at least 1.
    pub places: u32,
    /// Tokens per second that a worker generates with all slots in use; above 0.
    pub decode_rate: f64,
    /// Prompt tokens per second that a worker computes; above 0.
    pub prefill_rate: f64,
    /// Spare capacity, as a share of the work: for lost workers, retries and longer samples. 0 or more.
    pub spare: f64,
}

/// How many workers are needed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sizing {
    /// Samples per step.
    pub samples: u64,
    /// Tokens generated per step.
    pub generated_tokens: u64,
    /// Prompt tokens computed per step.
    pub prompt_tokens: u64,
    /// Seconds that one worker would need for all of it.
    pub worker_seconds: f64,
    /// Seconds per sample on a full worker.
    pub sample_seconds: f64,
    /// Workers that do the work in time.
    pub by_work: u64,
    /// Workers with enough slots for the rounds that fit into a step.
    pub by_rounds: u64,
    /// Workers needed: the larger of the two.
    pub workers: u64,
    /// Samples that may run at once on that many workers, for `autoscaling` and `--queue-limit`.
    pub places: u64,
}

/// No number of workers is enough.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "--step: one sample takes {sample_seconds:.1} s on a full worker, more than the {step_seconds:.1} s of a step; allow more time, ask \
     for fewer --critique-tokens, or give a worker fewer --places"
)]
pub struct TooShort {
    sample_seconds: f64,
    step_seconds: f64,
}

impl Ask {
    /// The example of docs/operations.md.
    pub const EXAMPLE: Self = Self {
        groups: 128,
        k: 8,
        orders: 2,
        prompt_tokens: 1_500,
        critique_tokens: 500,
        step_seconds: 60.0,
        places: 64,
        decode_rate: 3_200.0,
        prefill_rate: 20_000.0,
        spare: 0.2,
    };
}

/// Computes the sizing; see the module documentation.
///
/// # Errors
/// [`TooShort`] if a step is shorter than one sample.
pub fn sizing(ask: Ask) -> Result<Sizing, TooShort> {
    let samples = u64::from(ask.groups) * u64::from(ask.k);
    let generated_tokens = samples * u64::from(ask.critique_tokens);
    let prompt_tokens =
        u64::from(ask.groups) * u64::from(ask.orders.min(ask.k)) * u64::from(ask.prompt_tokens);
    let worker_seconds =
        generated_tokens as f64 / ask.decode_rate + prompt_tokens as f64 / ask.prefill_rate;
    let places = u64::from(ask.places.max(1));
    let of_a_sample = ask.decode_rate / places as f64;
    let sample_seconds = f64::from(ask.critique_tokens) / of_a_sample;
    let rounds = (ask.step_seconds / sample_seconds).floor();
    if rounds < 1.0 {
        return Err(TooShort { sample_seconds, step_seconds: ask.step_seconds });
    }
    let by_work = (worker_seconds * (1.0 + ask.spare) / ask.step_seconds).ceil().max(1.0) as u64;
    let by_rounds = (samples as f64 / (places as f64 * rounds)).ceil().max(1.0) as u64;
    let workers = by_work.max(by_rounds);
    Ok(Sizing {
        samples,
        generated_tokens,
        prompt_tokens,
        worker_seconds,
        sample_seconds,
        by_work,
        by_rounds,
        workers,
        places: workers * places,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask::EXAMPLE;

    #[test]
    fn the_example_of_the_docs() {
        let sizing = sizing(ASK).unwrap();
        assert_eq!(
            (sizing.samples, sizing.generated_tokens, sizing.prompt_tokens),
            (1_024, 512_000, 384_000)
        );
        // 512,000 / 3,200 + 384,000 / 20,000
        assert!((sizing.worker_seconds - 179.2).abs() < 1e-9);
        // 500 tokens at 50 per second
        assert!((sizing.sample_seconds - 10.0).abs() < 1e-9);
        assert_eq!(
            (sizing.by_work, sizing.by_rounds, sizing.workers, sizing.places),
            (4, 3, 4, 256)
        );
    }

    #[test]
    fn twice_the_work_or_half_the_time_never_takes_fewer_workers() {
        for groups in [1, 7, 64, 1_000] {
            for step_seconds in [11.0, 30.0, 300.0] {
                let ask = Ask { groups, step_seconds, ..ASK };
                let workers = sizing(ask).unwrap().workers;
                assert!(sizing(Ask { groups: 2 * groups, ..ask }).unwrap().workers >= workers);
                let hurried = Ask { step_seconds: step_seconds / 2.0, ..ask };
                assert!(
                    sizing(hurried).is_ok_and(|sizing| sizing.workers >= workers)
                        || step_seconds < 20.0
                );
            }
        }
    }

    #[test]
    fn a_step_shorter_than_a_sample_is_refused_with_the_way_out() {
        let error = sizing(Ask { step_seconds: 9.0, ..ASK }).unwrap_err().to_string();
        assert!(
            error.contains("one sample takes 10.0 s") && error.contains("--critique-tokens"),
            "{error}"
        );
    }

    #[test]
    fn a_prompt_is_computed_once_an_order_and_never_more_often_than_there_are_samples() {
        let one = sizing(Ask { k: 1, ..ASK }).unwrap();
        assert_eq!(one.prompt_tokens, 128 * 1_500);
    }
}
