//! What a run reports, and what it stores besides its tensors.

use serde::{Deserialize, Serialize};

use super::Environment;

/// The results of a step. Numbers are rounded to seven digits, so that files preserve them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RlStep {
    /// From 1.
    pub step: u64,
    /// Mean over all samples, -1 to 1.
    pub reward: f64,
    /// Mean over the tokens that were trained on, k3, in nats; `None` if there were none.
    pub kl: Option<f64>,
    /// Entropy of the policy, mean over the same tokens, in nats.
    pub entropy: Option<f64>,
    /// Mean number of tokens per sample, including an end token.
    pub length: f64,
    /// Samples whose scores could not be parsed.
    pub unreadable: usize,
    /// Samples drawn.
    pub samples: usize,
    /// Groups drawn.
    pub groups: usize,
    /// Groups whose rewards were all equal.
    pub without_spread: usize,
    /// Before clipping; 0 if nothing was trained on.
    pub gradient_norm: f64,
}

/// An evaluation on held-out tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The number of steps before it.
    pub step: u64,
    /// Share of samples with reward +1.
    pub correct: f64,
    /// Share of samples whose scores could be parsed.
    pub readable: f64,
}

/// The run's part of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Digest of settings and tasks.
    pub(super) run: String,
    /// Number of AdamW updates: a step in which every group has equal rewards makes none.
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

/// Digest of the tasks, and of text that describes everything else that determines the results; hex.
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
