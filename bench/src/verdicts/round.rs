//! The results of one side in one round.

use jury_engine::Counters;
use jury_grm::domain::Sample;
use serde::Serialize;

/// All items judged once by one side.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Round {
    /// From the start of the first item to the verdict of the last.
    pub seconds: f64,
    pub verdicts: u64,
    /// Verdicts in which every response has a reward.
    pub rewarded: u64,
    pub samples: u64,
    /// Samples whose text gave scores.
    pub read_samples: u64,
    /// Tokens that the samples generated.
    pub generated_tokens: u64,
    /// Tokens that the peer also generated for samples that already had their scores, while others of their request
    /// continued.
    pub surplus_tokens: u64,
    /// For a side that drafts and reports it.
    pub drafts: Option<Drafts>,
}

/// Drafted tokens, and the ones of them that were then drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Drafts {
    pub drafted_tokens: u64,
    pub accepted_tokens: u64,
}

// === impl Drafts ===

impl Drafts {
    /// The difference between two readings of an engine's counters.
    pub fn between(before: &Counters, after: &Counters) -> Self {
        Self {
            drafted_tokens: after.drafted_tokens - before.drafted_tokens,
            accepted_tokens: after.accepted_tokens - before.accepted_tokens,
        }
    }
}

// === impl Round ===

impl Round {
    /// Adds a verdict: its samples, and the reward of every response.
    pub fn add(&mut self, samples: &[Sample], rewards: &[Option<f64>]) {
        self.verdicts += 1;
        self.rewarded += u64::from(rewards.iter().all(Option::is_some));
        self.samples += samples.len() as u64;
        self.read_samples +=
            samples.iter().filter(|sample| sample.scores().is_some()).count() as u64;
        self.generated_tokens +=
            samples.iter().map(|sample| u64::from(sample.generated_tokens)).sum::<u64>();
    }

    pub fn verdicts_per_minute(&self) -> f64 {
        self.verdicts as f64 * 60.0 / self.seconds.max(1e-9)
    }
}
