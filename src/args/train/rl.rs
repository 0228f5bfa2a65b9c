//! `jury train rl`.

use std::path::PathBuf;

use jury_engine::DeviceKind;
use jury_grm::domain::limits;
use jury_terminal::model::device;
use jury_terminal::number::{critique_tokens, real, seed, threads, whole};

use super::TuningArgs;
use super::rft::above_0;
use crate::args::{CacheArgs, ChoiceArgs, JudgeArgs};

const EXAMPLES: &str = "\
Rule-based online reinforcement learning (GRPO): the judge draws groups of critiques with its current weights; a critique \
is rewarded with +1 if it scores the best response strictly highest, else with -1. Training starts from an adapter, \
usually that of `jury train rft`, and runs on the CPU. Repeat the command to resume an interrupted run; a larger --steps \
extends a finished run. docs/training.md describes how long it takes.

Examples:
  jury train rl --items pairs.jsonl --part train --model smollm2-135m \\
    --init rft --out rl
  jury train rl --items pairs.jsonl --model smollm2-135m --init rft \\
    --out rl-free --beta 0";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainRlArgs {
    /// Files with items whose best response is known, one item per line; items with a single response need a label of 0
    /// or 1
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// Adapter to start from: the --out folder of `jury train rft`, or a PEFT adapter with the same --rank and
    /// --targets. Without it, training starts from --model itself, for example the model written by `jury train rft
    /// --full-weights`
    #[arg(long, value_name = "DIR")]
    pub init: Option<PathBuf>,
    /// Folder of this run: checkpoint, curves, the last adapter and the best one
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Do not print progress on stderr
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Share of the queries held out for evaluation and for choosing the best weights, 0 to 0.9
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, help_heading = "Items")]
    pub held_out_share: f64,
    /// Keep items that the initial model judges correctly in three of three samples (the model learns nothing from
    /// them)
    #[arg(long, help_heading = "Items")]
    pub keep_easy: bool,
    /// Most tokens of a prompt; items with longer prompts are left out and counted
    #[arg(long, value_name = "N", default_value_t = 1024, help_heading = "Items")]
    pub max_prompt_tokens: usize,

    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Samples per group, 2 to 256
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = whole(2..=limits::MAX_K, "--group 4"),
        help_heading = "Sampling",
    )]
    pub group: u32,
    /// Groups per step
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Sampling")]
    pub groups: usize,
    /// Softmax temperature, above 0; at 1, samples are drawn from the same policy that the gradient is taken of
    #[arg(long, value_name = "T", default_value_t = 1.0, help_heading = "Sampling")]
    pub temperature: f64,
    /// Most tokens of a critique, 1 to 16384
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = critique_tokens, help_heading = "Sampling")]
    pub max_critique_tokens: u32,

    /// An option of `jury train rft`, rejected with an explanation: RL tunes only adapters
    #[arg(long, hide = true)]
    pub full_weights: bool,
    #[command(flatten)]
    pub tuning: TuningArgs,
    /// Total number of steps
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Tuning")]
    pub steps: u64,
    /// Weight in the loss of the KL divergence from the initial model, at least 0: 0.08 for the paper's larger model,
    /// 0.002 for its smaller one
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.04,
        allow_negative_numbers = true,
        value_parser = real(|x| x.is_finite() && x >= 0.0, "of at least 0", "--beta 0.04"),
        help_heading = "Tuning",
    )]
    pub beta: f64,
    /// Learning rate, above 0
    #[arg(
        long,
        value_name = "RATE",
        default_value = "2e-5",
        allow_negative_numbers = true,
        value_parser = above_0("--learning-rate 2e-5"),
        help_heading = "Tuning",
    )]
    pub learning_rate: f64,
    /// Steps between evaluations on the held-out items, at least 1
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Tuning",
    )]
    pub evaluate_every: u64,
    /// Seed of the samples and of the order of items, below 2^53
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = seed,
        help_heading = "Tuning",
    )]
    pub seed: u64,
}

/// The model that draws samples with its current weights and is trained: in this process, on the CPU.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct PolicyArgs {
    /// The model to train: a model of the catalogue (`jury models list`), a GGUF file, a folder of safetensors, or
    /// hub:OWNER/REPO/FILE [default: qwen2.5-coder-1.5b]
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// Threads of the engine, 1 to 4096 [default: all CPUs available to this process]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub threads: Option<usize>,
    /// An option of `jury train rft`; other devices than the CPU are rejected with an explanation
    #[arg(long, hide = true, value_name = "DEVICE", value_parser = device)]
    pub device: Option<DeviceKind>,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Prompt template to use instead of the built-in one
    #[arg(long, env = "JURY_TEMPLATE", value_name = "FILE")]
    pub template: Option<PathBuf>,
}

// === impl PolicyArgs ===

impl PolicyArgs {
    /// The same model as one that judges.
    pub fn judge(&self) -> JudgeArgs {
        let Self { model, threads, device, cache, template } = self.clone();
        JudgeArgs { model, threads, device, cache, template, ..JudgeArgs::default() }
    }
}
