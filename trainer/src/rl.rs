//! Rule-based online reinforcement learning (GRPO; paper, section 3.3): a judge draws groups, rules reward them.
//!
//! ```text
//! step number, seed -> tasks -> groups drawn with the current weights        (sampler.rs: the engine, adapter swapped)
//!                            -> rewards +1 or -1 -> advantage (r - mean) / std in the group
//!                            -> gradient of -advantage * ratio + beta * KL, a sequence at a time -> AdamW
//! ```
//!
//! One update a batch, so that the ratio to the drawing policy is 1 and needs no clipping. KL to the start model is
//! estimated per token by k3, `exp(ref - now) - (ref - now) - 1` (Schulman 2020), in the loss. A loss is the mean over a
//! sequence's tokens, the end token that the model wrote included, then over sequences. A group whose rewards are all equal
//! has no advantage and no gradient: it is left out, its KL too, and counted.
//!
//! A step is a function of weights, moments and its number: a run that was killed and goes on is the run that was not.

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

/// What a step learns from, part of what a run is: it changes where the same settings come to other steps.
const LAW: &str = "end tokens are learned";

/// What is drawn for, and what rewards it.
pub trait Environment {
    /// Number of tasks.
    fn n_tasks(&self) -> usize;
    /// A group's members: the prompt of each (equal ones are computed once).
    fn prompts(&self, task: usize) -> Vec<&[u32]>;
    /// What decides where member `member`'s text ends.
    fn watch(&self, task: usize, member: usize) -> Box<dyn jury_engine::Watch>;
    /// The rule.
    fn reward(&self, task: usize, member: usize, drawn: &Drawn) -> Reward;
}

/// What a rule says of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reward {
    /// +1 or -1.
    pub value: f64,
    /// Whether it could be read at all.
    pub is_readable: bool,
}

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RlConfig {
    /// Decides the order of tasks and every draw.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Groups of one step.
    pub groups: usize,
    /// Weight of the KL to the start model.
    pub beta: f64,
    /// Steps between two measurements on held-out tasks.
    pub evaluate_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// AdamW; without `cosine_steps` the rate stays, as the paper's does.
    pub optimiser: OptimiserConfig,
}

/// Where a run keeps itself.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Path,
    /// The folder of the best adapter so far.
    pub best: &'a Path,
    /// The name of the model that the adapter belongs to.
    pub base: &'a str,
    /// The start model, its adapter and how it draws, in words that differ where these do; part of what the run is.
    pub start: &'a str,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RlRun {
    /// Every step, those before a resumption included.
    pub history: Vec<RlStep>,
    /// The measurements on held-out tasks; the first is the start model's.
    pub held_out: Vec<HeldOut>,
    /// Whether all steps are done; else the same call goes on.
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

/// A run after one of its steps.
#[derive(Debug, Clone, Copy)]
pub struct SoFar<'a> {
    /// Every step; the last is the one that is told.
    pub history: &'a [RlStep],
    /// The measurements on held-out tasks.
    pub held_out: &'a [HeldOut],
    /// Whether the last of them is of this step.
    pub is_measured: bool,
    /// Whether a checkpoint is written now.
    pub is_kept: bool,
}

/// Trains `model`, whose weights now are the start and the reference. `on_step` is told each step, and may end the run
/// after it, with a checkpoint.
///
/// # Errors
/// [`TuneError::Foreign`] for a checkpoint of another run, and what drawing, computing and writing gives.
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
    // The number of steps decides nothing, so that a run can be made longer.
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
        // A measurement may have written a better adapter: the checkpoint must know of it.
        let is_kept = is_last || measures || (step + 1).is_multiple_of(config.checkpoint_every);
        let (history, measured) = (&state.history, &state.held_out);
        let so_far = SoFar { history, held_out: measured, is_measured: measures, is_kept };
        let ends = on_step(so_far).is_break();
        if ends || is_kept {
            checkpoint::save(places.checkpoint, model, &optimiser, &state)?;
        }
        if ends {
            break;
        }
    }
    let is_complete = state.steps() >= config.steps;
    Ok(RlRun { history: state.history, held_out: state.held_out, is_complete })
}

/// One step's groups, rewards and gradient.
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

/// A sample for every member of each task's group, drawn at `step`; or `n` samples, of its members in turn.
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

/// Measures the current weights on held-out tasks, and keeps the adapter if it is the best so far.
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
    // The same seeds each time: only the weights differ.
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
