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
Rule-based online reinforcement learning (GRPO): a judge draws groups of critiques with its current weights and is \
rewarded +1 where the best response got strictly the highest score, else -1. It starts from an adapter, mostly that of \
`jury train rft`, and runs on the CPU. The same command goes on where it stopped, whatever stopped it; a larger --steps \
makes a finished run longer. docs/training.md says how long it takes.

Examples:
  jury train rl --items pairs.jsonl --part train --model smollm2-135m \\
    --init rft --out rl
  jury train rl --items pairs.jsonl --model smollm2-135m --init rft \\
    --out rl-free --beta 0";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainRlArgs {
    /// Files of items whose best response is known, one a line; single responses with a label of 0 or 1
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// The folder of `jury train rft`, or of a PEFT adapter with this --rank and these --targets. Without it, the model
    /// itself is the start: give what `jury train rft --full-weights` wrote as --model
    #[arg(long, value_name = "DIR")]
    pub init: Option<PathBuf>,
    /// The folder of this run: checkpoint, curves, the last adapter and the best
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// No progress on stderr
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Share of these queries that is held out to measure on and to choose the best weights by
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, help_heading = "Items")]
    pub held_out_share: f64,
    /// Keep items that the start model gets right in all of three samples; they teach nothing
    #[arg(long, help_heading = "Items")]
    pub keep_easy: bool,
    /// Longest prompt in tokens; items with longer ones are left out and counted
    #[arg(long, value_name = "N", default_value_t = 1024, help_heading = "Items")]
    pub max_prompt_tokens: usize,

    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Samples of a group
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = whole(2..=limits::MAX_K, "--group 4"),
        help_heading = "Sampling",
    )]
    pub group: u32,
    /// Groups of a step
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Sampling")]
    pub groups: usize,
    /// Softmax temperature, above 0; at 1 samples come from the policy whose gradient is taken
    #[arg(long, value_name = "T", default_value_t = 1.0, help_heading = "Sampling")]
    pub temperature: f64,
    /// Longest critique in tokens
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = critique_tokens, help_heading = "Sampling")]
    pub max_critique_tokens: u32,

    /// As `jury train rft` has it; RL tunes an adapter alone, and says so
    #[arg(long, hide = true)]
    pub full_weights: bool,
    #[command(flatten)]
    pub tuning: TuningArgs,
    /// Steps in all
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Tuning")]
    pub steps: u64,
    /// Weight of the KL to the start in the loss: 0.08 in the paper's larger model, 0.002 in its smaller one
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.04,
        allow_negative_numbers = true,
        value_parser = real(|x| x.is_finite() && x >= 0.0, "of at least 0", "--beta 0.04"),
        help_heading = "Tuning",
    )]
    pub beta: f64,
    /// Step size
    #[arg(
        long,
        value_name = "RATE",
        default_value = "2e-5",
        allow_negative_numbers = true,
        value_parser = above_0("--learning-rate 2e-5"),
        help_heading = "Tuning",
    )]
    pub learning_rate: f64,
    /// Steps between two measurements on held-out items
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Tuning",
    )]
    pub evaluate_every: u64,
    /// Seed of draws and of the order of items
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

/// The model that draws with its current weights and learns: in this process, on the CPU.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct PolicyArgs {
    /// The model that draws and learns: one of the catalogue (`jury models list`), a GGUF file, a folder of safetensors, or
    /// hub:OWNER/REPO/FILE [default: qwen2.5-coder-1.5b]
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// Threads of the engine [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub threads: Option<usize>,
    /// As `jury train rft` has it; RL draws on the CPU alone, and says so
    #[arg(long, hide = true, value_name = "DEVICE", value_parser = device)]
    pub device: Option<DeviceKind>,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// A prompt template that takes the place of the built-in one
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
