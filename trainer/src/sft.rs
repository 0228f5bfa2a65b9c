//! Fine-tuning on sequences: batches in a seeded order, resumable to the same bytes.
//!
//! ```text
//! epoch's order (seed, epoch) -> batch -> gradients, one sequence at a time -> clip -> AdamW -> every so often a checkpoint
//! ```
//!
//! The loss is the mean over a batch's completion tokens. A step depends only on parameters, moments and its number,
//! so a run that is resumed from a checkpoint equals one that was never interrupted.

mod report;

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use report::SftReport;

use crate::checkpoint;
use crate::error::TuneError;
use crate::model::{Model, Sequence};
use crate::optimiser::{AdamW, OptimiserConfig};
use crate::order;

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SftConfig {
    /// Determines the order of sequences.
    pub seed: u64,
    /// Passes over all sequences.
    pub epochs: usize,
    /// Sequences per step.
    pub batch: usize,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// AdamW; `cosine_steps` is set to the run's steps.
    pub optimiser: OptimiserConfig,
}

/// The results of a step. Numbers are rounded to seven digits, so that files preserve them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SftStep {
    /// From 1.
    pub step: u64,
    /// Total number of steps of the run.
    pub steps: u64,
    /// Mean negative log-probability per completion token, in nats.
    pub loss: f64,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Gradient norm before clipping.
    pub gradient_norm: f64,
    /// Completion tokens of the batch.
    pub tokens: usize,
}

/// The state of a run when it stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct SftRun {
    /// Every step, including those before a resumption.
    pub history: Vec<SftStep>,
    /// Whether all steps are done; otherwise the same call continues the run.
    pub is_complete: bool,
}

/// The content of a checkpoint besides tensors.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Digest of settings and sequences.
    run: String,
    history: Vec<SftStep>,
}

// === impl State ===

impl State {
    fn is_of(&self, run: &str, checkpoint: &Path) -> Result<(), TuneError> {
        if self.run != run {
            let why = "it is of a run with other data or settings; give those again, or remove it to start anew";
            return Err(TuneError::foreign(checkpoint, why));
        }
        Ok(())
    }
}

// === impl SftConfig ===

impl SftConfig {
    /// Number of steps of a run over this many sequences.
    pub fn steps(&self, n_sequences: usize) -> u64 {
        (n_sequences * self.epochs).div_ceil(self.batch.max(1)) as u64
    }

    /// # Errors
    /// [`TuneError::Setting`] for invalid numbers.
    pub fn check(&self) -> Result<(), TuneError> {
        if self.epochs == 0 || self.batch == 0 || self.checkpoint_every == 0 {
            return Err(TuneError::setting("epochs, batch, checkpoints", "must be at least 1"));
        }
        self.optimiser.check()
    }
}

/// Rejects a `checkpoint` of another run than the one that [`fine_tune`] would continue, before anything is written
/// or loaded.
///
/// # Errors
/// As [`fine_tune`] for its checkpoint.
pub fn check_checkpoint(
    base: &str,
    sequences: &[Sequence],
    config: &SftConfig,
    checkpoint: &Path,
) -> Result<(), TuneError> {
    let state: Option<State> = checkpoint::state(checkpoint)?;
    state.map_or(Ok(()), |state| state.is_of(&digest(base, sequences, config), checkpoint))
}

/// Fine-tunes `model` on `sequences`. Resumes from `checkpoint` if there is one; `base` names the model that it
/// started from. `on_step` is called after each step and may end the run there, with a checkpoint.
///
/// # Errors
/// [`TuneError::Foreign`] for a checkpoint of another run, and errors of computing and writing.
pub fn fine_tune(
    model: &Model,
    base: &str,
    sequences: &[Sequence],
    config: &SftConfig,
    checkpoint: &Path,
    mut on_step: impl FnMut(&SftStep) -> ControlFlow<()>,
) -> Result<SftRun, TuneError> {
    config.check()?;
    if sequences.is_empty() {
        return Err(TuneError::NoData("nothing was kept, so there is nothing to learn".to_owned()));
    }
    let steps = config.steps(sequences.len());
    let mut optimiser_config = config.optimiser.clone();
    optimiser_config.cosine_steps = Some(steps);
    let mut optimiser = AdamW::new(model, optimiser_config);
    let run = digest(base, sequences, config);
    let loaded = checkpoint::load(checkpoint, model, &mut optimiser, |state: &State| {
        state.is_of(&run, checkpoint).map(|()| state.history.len() as u64)
    })?;
    let mut state = loaded.unwrap_or_else(|| State { run: run.clone(), history: Vec::new() });
    while (state.history.len() as u64) < steps {
        let step = state.history.len() as u64;
        let batch = batch(sequences.len(), config, step);
        let n_tokens: usize =
            batch.iter().map(|&at| sequences[at].tokens.len() - sequences[at].start).sum();
        let mut gradients = model.no_gradients();
        let mut loss = 0.0;
        for at in batch {
            let nll = |log_probs: &candle_core::Tensor| log_probs.sum_all()?.neg();
            loss += model.learn(&sequences[at], nll, &mut gradients)?.loss;
        }
        if !loss.is_finite() {
            return Err(TuneError::Diverged { step, what: "loss" });
        }
        let stepped = optimiser.step(model, &gradients, n_tokens as f64)?;
        state.history.push(SftStep {
            step: step + 1,
            steps,
            loss: seven_digits(loss / n_tokens as f64),
            learning_rate: seven_digits(stepped.learning_rate),
            gradient_norm: seven_digits(stepped.gradient_norm),
            tokens: n_tokens,
        });
        // Before `on_step`, so that a failure there loses no work.
        let is_kept = (step + 1).is_multiple_of(config.checkpoint_every) || step + 1 == steps;
        if is_kept {
            checkpoint::save(checkpoint, model, &optimiser, &state)?;
        }
        let ends = state.history.last().is_some_and(|step| on_step(step).is_break());
        if ends && !is_kept {
            checkpoint::save(checkpoint, model, &optimiser, &state)?;
        }
        if ends {
            break;
        }
    }
    let is_complete = state.history.len() as u64 == steps;
    Ok(SftRun { history: state.history, is_complete })
}

/// The sequences of a step.
fn batch(n: usize, config: &SftConfig, step: u64) -> Vec<usize> {
    let first = step as usize * config.batch;
    let end = (first + config.batch).min(n * config.epochs);
    order::at(first..end, n, config.seed, "jury sft order")
}

fn digest(base: &str, sequences: &[Sequence], config: &SftConfig) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("jury sft run");
    hasher.update(base.as_bytes());
    hasher.update(serde_json::to_string(config).unwrap_or_default().as_bytes());
    for Sequence { tokens, start } in sequences {
        hasher.update(&(tokens.len() as u64).to_le_bytes());
        hasher.update(&(*start as u64).to_le_bytes());
        tokens.iter().for_each(|token| {
            hasher.update(&token.to_le_bytes());
        });
    }
    hasher.finalize().to_hex().to_string()
}

/// Rounds a number to seven digits: short decimals survive every JSON parser.
pub(crate) fn seven_digits(number: f64) -> f64 {
    format!("{number:.6e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests;
