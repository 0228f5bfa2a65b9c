//! Rule-based online reinforcement learning (GRPO; paper, section 3.3): a judge draws groups, and a rule rewards
//! them.
//!
//! ```text
//! step number, seed -> tasks -> groups drawn with the current weights        (sampler.rs: the engine, adapter swapped)
//!                            -> rewards +1 or -1 -> advantage (r - mean) / std in the group
//!                            -> gradient of -advantage * ratio + beta * KL, a sequence at a time -> AdamW
//! ```
//!
//! There is one update per batch, so the ratio to the policy that drew the samples is 1 and needs no clipping. The KL
//! to the start model is estimated per token by k3, `exp(ref - now) - (ref - now) - 1` (Schulman 2020), and is part
//! of the loss. The loss is the mean over a sequence's tokens, including the end token if the model wrote one, then
//! over sequences. A group whose rewards are all equal has no advantage and no gradient: it is skipped, including its
//! KL, and counted.
//!
//! A step depends only on weights, moments and its number: a run that was killed and resumed equals one that was not.

mod easy;
mod grpo;
pub mod judging;
mod report;
mod sampler;
mod state;

use std::ops::ControlFlow;
use std::path::Path;

use jury_grm::random::SplitMix64;
use serde::{Deserialize, Serialize};

pub use easy::Easy;
pub use grpo::{advantages, k3};
pub use report::RlReport;
pub use sampler::{DrawRequest, Drawn, EngineSampler, Sampler};
pub use state::{HeldOut, RlStep, digest};

use crate::adapter;
use crate::checkpoint;
use crate::error::TuneError;
use crate::model::Model;
use crate::optimiser::{AdamW, OptimiserConfig};
use crate::order;
use crate::sft::seven_digits;
use grpo::Learned;
use state::State;

/// What a step learns from. It is part of a run's identity, and changes whenever the same settings lead to different
/// steps.
const LAW: &str = "end tokens are learned";

/// The tasks to draw samples for, and the rule that rewards them.
pub trait Environment {
    /// Number of tasks.
    fn n_tasks(&self) -> usize;
    /// A group's members: the prompt of each (equal ones are computed once).
    fn prompts(&self, task: usize) -> Vec<&[u32]>;
    /// Decides where the text of member `member` ends.
    fn watch(&self, task: usize, member: usize) -> Box<dyn jury_engine::Watch>;
    /// The rule.
    fn reward(&self, task: usize, member: usize, drawn: &Drawn) -> Reward;
}

/// What a rule says about a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reward {
    /// +1 or -1.
    pub value: f64,
    /// Whether the text could be parsed at all.
    pub is_readable: bool,
}

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RlConfig {
    /// Determines the order of tasks and every draw.
    pub seed: u64,
    /// Total number of steps.
    pub steps: u64,
    /// Groups per step.
    pub groups: usize,
    /// Weight of the KL to the start model.
    pub beta: f64,
    /// Steps between two evaluations on held-out tasks.
    pub evaluate_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// AdamW; without `cosine_steps` the rate stays constant, as in the paper.
    pub optimiser: OptimiserConfig,
}

/// Where a run stores its files.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The checkpoint file.
    pub checkpoint: &'a Path,
    /// The folder of the best adapter so far.
    pub best: &'a Path,
    /// The name of the model that the adapter belongs to.
    pub base: &'a str,
    /// Describes the start model, its adapter and how it draws; texts differ if these do. Part of the run's identity.
    pub start: &'a str,
}

/// The state of a run when it stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct RlRun {
    /// Every step, including those before a resumption.
    pub history: Vec<RlStep>,
    /// The evaluations on held-out tasks; the first is of the start model.
    pub held_out: Vec<HeldOut>,
    /// Whether all steps are done; otherwise the same call continues the run.
    pub is_complete: bool,
}

// === impl RlConfig ===

impl RlConfig {
    fn check(&self) -> Result<(), TuneError> {
        if self.groups == 0 || self.evaluate_every == 0 || self.checkpoint_every == 0 {
            return Err(TuneError::setting(
                "groups, evaluation, checkpoints",
                "must be at least 1",
            ));
        }
        if !(self.beta.is_finite() && self.beta >= 0.0) {
            return Err(TuneError::setting("beta", "must be at least 0"));
        }
        self.optimiser.check()
    }
}

/// The state of a run after one of its steps.
#[derive(Debug, Clone, Copy)]
pub struct SoFar<'a> {
    /// Every step; the last one is the one being reported.
    pub history: &'a [RlStep],
    /// The evaluations on held-out tasks.
    pub held_out: &'a [HeldOut],
    /// Whether the last of them belongs to this step.
    pub is_measured: bool,
    /// Whether its checkpoint is written.
    pub is_kept: bool,
}

/// Trains `model`, whose current weights are the start and the reference. `on_step` is called after each step and may
/// end the run there, with a checkpoint.
///
/// # Errors
/// [`TuneError::Foreign`] for a checkpoint of another run, and errors of drawing, computing and writing.
pub fn reinforce(
    model: &Model,
    sampler: &mut impl Sampler,
    tasks: &impl Environment,
    held_out: &impl Environment,
    config: &RlConfig,
    places: Places<'_>,
    mut on_step: impl FnMut(SoFar<'_>) -> ControlFlow<()>,
) -> Result<RlRun, TuneError> {
    config.check()?;
    if tasks.n_tasks() == 0 {
        return Err(TuneError::NoData("no task is left to learn from".to_owned()));
    }
    let reference = model.values()?;
    let mut optimiser = AdamW::new(model, config.optimiser.clone());
    // The number of steps influences nothing else, so a run can be extended.
    let settings = serde_json::to_string(&RlConfig { steps: 0, ..config.clone() });
    let words = format!("{} {} {LAW}", places.start, settings.unwrap_or_default());
    let run = digest(tasks, &words);
    let loaded = checkpoint::load(places.checkpoint, model, &mut optimiser, |state: &State| {
        if state.run != run {
            let why = "it is of a run with other items or settings, or of a release that learned otherwise; give those \
                       again, or remove it to start anew";
            return Err(TuneError::foreign(places.checkpoint, why));
        }
        Ok(state.updates)
    })?;
    let mut state = loaded.unwrap_or_else(|| State::new(run.clone()));
    if state.held_out.is_empty() && held_out.n_tasks() > 0 {
        measure(model, sampler, held_out, config, 0, &mut state, places)?;
    }
    while state.steps() < config.steps {
        let step = state.steps();
        let learned = self::step(model, sampler, tasks, config, &reference, step)?;
        let Learned { told, gradients, n_sequences } = learned;
        let mut told = told;
        if n_sequences > 0 {
            let stepped = optimiser.step(model, &gradients, n_sequences as f64)?;
            told.gradient_norm = seven_digits(stepped.gradient_norm);
            state.updates = optimiser.steps();
        }
        state.history.push(told);
        let is_last = step + 1 == config.steps;
        let measures =
            held_out.n_tasks() > 0 && (is_last || (step + 1).is_multiple_of(config.evaluate_every));
        if measures {
            measure(model, sampler, held_out, config, step + 1, &mut state, places)?;
        }
        // An evaluation may have written a better adapter, which the checkpoint must record.
        let is_kept = is_last || measures || (step + 1).is_multiple_of(config.checkpoint_every);
        // Before `on_step`, so that a failure there loses no work.
        if is_kept {
            checkpoint::save(places.checkpoint, model, &optimiser, &state)?;
        }
        let (history, measured) = (&state.history, &state.held_out);
        let so_far = SoFar { history, held_out: measured, is_measured: measures, is_kept };
        let ends = on_step(so_far).is_break();
        if ends && !is_kept {
            checkpoint::save(places.checkpoint, model, &optimiser, &state)?;
        }
        if ends {
            break;
        }
    }
    let is_complete = state.steps() >= config.steps;
    Ok(RlRun { history: state.history, held_out: state.held_out, is_complete })
}

/// The groups, rewards and gradient of one step.
fn step(
    model: &Model,
    sampler: &mut impl Sampler,
    tasks: &impl Environment,
    config: &RlConfig,
    reference: &[candle_core::Tensor],
    step: u64,
) -> Result<Learned, TuneError> {
    sampler.take_weights(model)?;
    let first = step as usize * config.groups;
    let chosen =
        order::at(first..first + config.groups, tasks.n_tasks(), config.seed, "jury rl order");
    let groups = draw(sampler, tasks, &chosen, None, config.seed, step)?;
    let prompts: Vec<Vec<&[u32]>> = chosen.iter().map(|&task| tasks.prompts(task)).collect();
    grpo::learn(model, reference, &prompts, &groups, config.beta, step)
}

/// Draws one sample for every member of each task's group at `step`; or `n` samples, cycling through its members.
fn draw(
    sampler: &mut impl Sampler,
    tasks: &impl Environment,
    chosen: &[usize],
    n: Option<usize>,
    seed: u64,
    step: u64,
) -> Result<Vec<Vec<(Drawn, Reward)>>, TuneError> {
    let mut requests = Vec::new();
    for (place, &task) in chosen.iter().enumerate() {
        let mut random = SplitMix64::for_purpose(seed, &format!("jury rl {step} {place} {task}"));
        let prompts = tasks.prompts(task);
        let members = prompts.iter().enumerate().cycle();
        for (member, prompt) in members.take(n.unwrap_or(prompts.len())) {
            requests.push(DrawRequest {
                prompt: prompt.to_vec(),
                seed: random.next_u64() >> 11,
                watch: tasks.watch(task, member),
            });
        }
    }
    let mut drawn = sampler.draw(requests)?.into_iter();
    let of_task = |&task: &usize| {
        let members = tasks.prompts(task).len();
        let rewarded = |(place, drawn): (usize, Drawn)| {
            let reward = tasks.reward(task, place % members, &drawn);
            (drawn, reward)
        };
        drawn.by_ref().take(n.unwrap_or(members)).enumerate().map(rewarded).collect()
    };
    Ok(chosen.iter().map(of_task).collect())
}

/// Evaluates the current weights on held-out tasks, and stores the adapter if it is the best so far.
fn measure(
    model: &Model,
    sampler: &mut impl Sampler,
    held_out: &impl Environment,
    config: &RlConfig,
    step: u64,
    state: &mut State,
    places: Places<'_>,
) -> Result<(), TuneError> {
    sampler.take_weights(model)?;
    let all: Vec<usize> = (0..held_out.n_tasks()).collect();
    // The same seeds each time, so that only the weights differ.
    let drawn = draw(sampler, held_out, &all, None, config.seed, u64::MAX - 1)?;
    let rewards: Vec<Reward> = drawn.into_iter().flatten().map(|(_, reward)| reward).collect();
    let n = rewards.len().max(1) as f64;
    let right = rewards.iter().filter(|reward| reward.value > 0.0).count();
    let readable = rewards.iter().filter(|reward| reward.is_readable).count();
    let measured = HeldOut {
        step,
        correct: seven_digits(right as f64 / n),
        readable: seven_digits(readable as f64 / n),
    };
    let best = state.held_out.iter().map(|before| before.correct).reduce(f64::max);
    if best.is_none_or(|best| measured.correct > best) {
        adapter::write(model, places.base, places.best)?;
    }
    state.held_out.push(measured);
    Ok(())
}

#[cfg(test)]
mod tests;
