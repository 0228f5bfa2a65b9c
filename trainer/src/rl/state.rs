//! What a run tells, and keeps beside its numbers.

use serde::{Deserialize, Serialize};

use super::Environment;

/// What a step told. Numbers have seven digits, so that files keep them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RlStep {
    /// From 1.
    pub step: u64,
    /// Mean over all samples, -1 to 1.
    pub reward: f64,
    /// Mean over the tokens that were learned from, k3, nats; `None`: nothing was.
    pub kl: Option<f64>,
    /// Of the policy, mean over the same tokens, nats.
    pub entropy: Option<f64>,
    /// Mean tokens of a sample, an end token included.
    pub length: f64,
    /// Samples whose scores could not be read.
    pub unreadable: usize,
    /// Samples drawn.
    pub samples: usize,
    /// Groups drawn.
    pub groups: usize,
    /// Groups whose rewards were all equal.
    pub without_spread: usize,
    /// Before clipping; 0 where nothing was learned.
    pub gradient_norm: f64,
}

/// A measurement on held-out tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// After how many steps.
    pub step: u64,
    /// Share of samples with reward +1.
    pub correct: f64,
    /// Share of samples whose scores could be read.
    pub readable: f64,
}

/// The run's part of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Digest of settings and tasks.
    pub(super) run: String,
    /// Updates that AdamW made: steps without any spread make none.
    pub(super) updates: u64,
    pub(super) history: Vec<RlStep>,
    pub(super) held_out: Vec<HeldOut>,
}

// === impl State ===

impl State {
    pub(super) fn new(run: String) -> State {
        State { run, updates: 0, history: Vec::new(), held_out: Vec::new() }
    }

    pub(super) fn steps(&self) -> u64 {
        self.history.len() as u64
    }
}

/// Digest of tasks, and of words for whatever else decides what comes of them; hex.
pub fn digest(tasks: &impl Environment, words: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("jury rl run");
    hasher.update(&(words.len() as u64).to_le_bytes());
    hasher.update(words.as_bytes());
    for task in 0..tasks.n_tasks() {
        for prompt in tasks.prompts(task) {
            hasher.update(&(prompt.len() as u64).to_le_bytes());
            prompt.iter().for_each(|token| {
                hasher.update(&token.to_le_bytes());
            });
        }
    }
    hasher.finalize().to_hex().to_string()
}
