//! Times an engine on groups of samples, and verifies with its counters what was computed.
//!
//! The engine must be idle, and is idle afterwards. The prefix cache is flushed first, so nothing is reused from
//! earlier measurements. If the counters do not show that each group's prompt was prefilled exactly once, and that the
//! samples of a single group decoded together, the result is an error rather than a number.

mod together;

pub use together::run_together;

use std::time::Instant;

use serde::Serialize;

use crate::engine::Engine;
use crate::error::{PromptError, SampleError, SubmitError};
use crate::event::{Counters, Event};
use crate::prompt::{Message, Prompt, Role, Span};
use crate::request::{Group, NoWatch, SampleSpec, Sampling};

/// Repeated until a prompt is long enough.
const SENTENCE: &str = "The committee read every answer twice before it wrote down a score. ";
/// Asks for more text than any measurement generates, so that few samples end before their limit.
const REQUEST: &str = "Write a long novel about this, with many chapters, and never stop.";
/// Tokens kept from a prompt's end: the request, and what the chat template appends.
const END_TOKENS: usize = 32;

/// Samples of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Prompt tokens, see [`prompt`].
    pub prompt: Vec<u32>,
    /// Number of samples, at least 1.
    pub samples: usize,
    /// Tokens that each sample generates, at least 2; fewer if the model ends its text earlier.
    pub generated: usize,
    /// Seeds of the samples start here.
    pub seed: u64,
}

/// What was computed, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Timing {
    /// Prompt tokens computed.
    pub prefill_tokens: u64,
    /// From submission until the last group's prompt was ready, in seconds.
    pub prefill_seconds: f64,
    /// Tokens decoded in their own steps, without a sample's first, which comes from its prompt's logits.
    pub decode_tokens: u64,
    /// From then until all samples were done, in seconds.
    pub decode_seconds: f64,
    /// Tokens that would have been decoded if no sample had ended its text early.
    pub decode_tokens_asked: u64,
    /// Prompt tokens that groups measured together shared with each other: their common beginning.
    pub shared_tokens: u64,
}

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The engine was not idle.
    #[error("the engine is not idle")]
    Busy,
    /// The model cannot tokenise the text of the prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The engine rejected a group.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A sample failed.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The counters show something other than one prefill per group.
    #[error(
        "{prefills} prompts of together {computed} computed and {cached} cached tokens were prefilled, \
         {groups} of {asked} tokens were asked for"
    )]
    NotOnce {
        /// Prompts that became ready.
        prefills: u64,
        /// Prompt tokens computed.
        computed: u64,
        /// Prompt tokens found in the cache.
        cached: u64,
        /// Groups submitted.
        groups: u64,
        /// Their prompt tokens.
        asked: u64,
    },
    /// Some samples of a single group waited for a slot in the batch or for memory.
    #[error(
        "{steps} steps decoded samples of {generated} tokens: some waited for a place in the batch or for memory"
    )]
    NotTogether {
        /// Steps in which at least one sample decoded.
        steps: u64,
        /// Tokens that a sample generates.
        generated: usize,
    },
}

/// A prompt of exactly `tokens` tokens: the middle of a longer one is left out. Prompts with different `number`s differ
/// from their first sentence on.
///
/// # Errors
/// The model's tokenizer or template rejects plain text.
pub fn prompt(engine: &Engine, tokens: usize, number: usize) -> Result<Vec<u32>, PromptError> {
    // The sentence has 13 words of at least one token each, so this is always long enough.
    let text = format!("Question {number}. {}{REQUEST}", SENTENCE.repeat(tokens / 8 + 2));
    let message = Message { role: Role::User, spans: vec![Span::untrusted(text)] };
    Ok(without_middle(&engine.encode(&Prompt { messages: vec![message] })?, tokens))
}

/// The first tokens of a longer prompt and at most [`END_TOKENS`] of its last, `tokens` in total.
fn without_middle(prompt: &[u32], tokens: usize) -> Vec<u32> {
    let tokens = tokens.min(prompt.len());
    let end = END_TOKENS.min(tokens / 2);
    [&prompt[..tokens - end], &prompt[prompt.len() - end..]].concat()
}

/// Runs the workloads together, each as a group, from a cold prefix cache.
///
/// # Errors
/// See [`MeasureError`]. For a single workload, any token taken from the cache is an error.
pub fn run(engine: &mut Engine, workloads: &[Workload]) -> Result<Timing, MeasureError> {
    if !engine.is_idle() {
        return Err(MeasureError::Busy);
    }
    engine.flush_prefix_cache();
    let before = engine.counters();
    let mut events = Vec::new();
    let started = Instant::now();
    for workload in workloads {
        engine.submit(group(workload))?;
    }
    let is_ready = |events: &[Event]| {
        events.iter().filter(|event| matches!(event, Event::Prefilled { .. })).count()
            >= workloads.len()
    };
    while !is_ready(&events) && !engine.is_idle() {
        engine.step(&mut events);
    }
    let prefilled = Instant::now();
    let decoded_before = decoded(&engine.counters(), &before);
    while !engine.is_idle() {
        engine.step(&mut events);
    }
    let ended = Instant::now();
    for event in events {
        if let Event::Failed { error, .. } = event {
            return Err(error.into());
        }
    }
    let after = engine.counters();
    check(&before, &after, workloads)?;
    let samples: u64 = workloads.iter().map(|workload| workload.samples as u64).sum();
    let asked: u64 = workloads.iter().map(|work| (work.samples * work.generated) as u64).sum();
    // With one group, nothing is decoded before its prompt is ready. With several, early ones decode while later ones
    // are prefilled; tokens decoded by then count towards that time.
    let first_tokens = if decoded_before == 0 { samples } else { 0 };
    Ok(Timing {
        prefill_tokens: after.prefill_tokens - before.prefill_tokens,
        prefill_seconds: prefilled.duration_since(started).as_secs_f64(),
        decode_tokens: decoded(&after, &before) - decoded_before - first_tokens,
        decode_seconds: ended.duration_since(prefilled).as_secs_f64(),
        decode_tokens_asked: asked - decoded_before - first_tokens,
        shared_tokens: after.cached_tokens - before.cached_tokens,
    })
}

fn group(workload: &Workload) -> Group {
    let sample = |index: usize| SampleSpec {
        sampling: Sampling { temperature: 0.8, top_p: 0.95, seed: workload.seed + index as u64 },
        max_tokens: workload.generated,
        watch: Box::new(NoWatch),
        readout: None,
        last_hidden: false,
        ignores_end: true,
    };
    Group {
        prompt: workload.prompt.clone(),
        samples: (0..workload.samples).map(sample).collect(),
        cache_salt: None,
    }
}

fn decoded(after: &Counters, before: &Counters) -> u64 {
    after.decode_tokens - before.decode_tokens
}

/// Checks that every group's prompt was computed once, except for what groups of one measurement share.
fn check(before: &Counters, after: &Counters, workloads: &[Workload]) -> Result<(), MeasureError> {
    let groups = workloads.len() as u64;
    let asked: u64 = workloads.iter().map(|workload| workload.prompt.len() as u64).sum();
    let prefills = after.prefills - before.prefills;
    let computed = after.prefill_tokens - before.prefill_tokens;
    let cached = after.cached_tokens - before.cached_tokens;
    let alone_but_cached = groups == 1 && cached > 0;
    if prefills != groups || computed + cached != asked || alone_but_cached {
        return Err(MeasureError::NotOnce { prefills, computed, cached, groups, asked });
    }
    if let [Workload { generated, .. }] = *workloads {
        let steps = after.decode_steps - before.decode_steps;
        if steps > generated as u64 {
            return Err(MeasureError::NotTogether { steps, generated });
        }
    }
    Ok(())
}

// === impl Timing ===

impl Timing {
    /// Prompt tokens per second.
    pub fn prefill_rate(&self) -> f64 {
        self.prefill_tokens as f64 / self.prefill_seconds
    }

    /// Decoded tokens per second, over all samples.
    pub fn decode_rate(&self) -> f64 {
        self.decode_tokens as f64 / self.decode_seconds
    }

    /// From submission to the last sample's end.
    pub fn seconds(&self) -> f64 {
        self.prefill_seconds + self.decode_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(tokens: usize) -> Workload {
        Workload { prompt: vec![0; tokens], samples: 8, generated: 4, seed: 0 }
    }

    fn counters(prefills: u64, computed: u64, cached: u64) -> Counters {
        let (prefill_tokens, cached_tokens) = (computed, cached);
        Counters { prefills, prefill_tokens, cached_tokens, ..Counters::default() }
    }

    #[test]
    fn a_prompt_has_the_length_asked_for_and_its_true_end() {
        let long: Vec<u32> = (0..1_000).collect();
        for tokens in [1, 2, 63, 64, 999, 1_000, 2_000] {
            let cut = without_middle(&long, tokens);
            assert_eq!(cut.len(), tokens.min(1_000), "{tokens}");
            assert_eq!(cut.first(), Some(&0), "{tokens}");
            assert!(tokens < 2 || cut.last() == Some(&999), "{tokens}");
        }
    }

    #[test]
    fn one_prefill_of_the_whole_prompt_passes() {
        let before = counters(3, 1_000, 7);
        assert!(check(&before, &counters(4, 1_100, 7), &[workload(100)]).is_ok());
    }

    #[test]
    fn a_warm_cache_or_a_second_prefill_is_no_measurement() {
        let before = counters(0, 0, 0);
        for after in [counters(1, 36, 64), counters(1, 800, 0), counters(8, 800, 0)] {
            let refused = check(&before, &after, &[workload(100)]);
            assert!(matches!(refused, Err(MeasureError::NotOnce { .. })), "{after:?}");
        }
    }

    #[test]
    fn samples_that_had_to_wait_are_no_measurement() {
        let before = counters(0, 0, 0);
        let after = |decode_steps| Counters { decode_steps, ..counters(1, 100, 0) };
        assert!(check(&before, &after(3), &[workload(100)]).is_ok());
        let refused = check(&before, &after(6), &[workload(100)]);
        assert!(matches!(refused, Err(MeasureError::NotTogether { steps: 6, generated: 4 })));
    }

    #[test]
    fn groups_measured_together_may_share_their_beginning_alone() {
        let before = counters(0, 0, 0);
        let groups = [workload(100), workload(100)];
        assert!(check(&before, &counters(2, 184, 16), &groups).is_ok());
        assert!(check(&before, &counters(2, 200, 16), &groups).is_err());
    }
}
