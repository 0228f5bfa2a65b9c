//! The progress of a request, for the caller that waits for its verdict.

use serde::{Deserialize, Serialize};

/// The progress of one request. A snapshot: later ones replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What the request is doing.
    pub phase: Phase,
    /// Planned samples that have ended, scored or not; at most `samples_asked`.
    pub samples_done: u32,
    /// Samples planned: k, plus the spare samples drawn so far. Starts over when the model's context forces smaller
    /// panels.
    pub samples_asked: u32,
    /// Tokens generated so far by all samples, including those in flight. Falls when a worker is lost with its samples.
    pub generated_tokens: u64,
}

/// The phase that a request is in.
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
    /// A request for `samples_asked` samples that has just arrived.
    pub fn waiting(samples_asked: u32) -> Self {
        Self { phase: Phase::Waiting, samples_done: 0, samples_asked, generated_tokens: 0 }
    }
}
