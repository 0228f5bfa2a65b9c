//! How far a request is, for whoever waits for its verdict.

use serde::{Deserialize, Serialize};

/// How far one request is. A snapshot: later ones replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Planned samples that came to their end, scored or not; at most `samples_asked`.
    pub samples_done: u32,
    /// Samples planned: k, and the spare ones drawn so far. Starts anew when the model's context forces smaller panels.
    pub samples_asked: u32,
    /// Tokens generated so far, by all samples, those in flight included. Falls when a worker is lost with its samples.
    pub generated_tokens: u64,
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for admission, for a worker, or for the verdict of an identical request.
    Waiting,
    /// A worker reads the prompt.
    Prefill,
    /// Samples are being drawn.
    Drawing,
}

// === impl Progress ===

impl Progress {
    /// A request of `samples_asked` samples that has just come.
    pub fn waiting(samples_asked: u32) -> Self {
        Self { phase: Phase::Waiting, samples_done: 0, samples_asked, generated_tokens: 0 }
    }
}
