//! `jury train export`.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_grm::domain::limits;
use jury_terminal::number::{seed, whole};

use crate::args::ChoiceArgs;

const EXAMPLES: &str = "\
The folder contains the items as prompts in the trainer's format, the rule as a reward function, and a launch file with \
the paper's hyperparameters. It needs the Python package from client/python installed with the trainer. docs/training.md \
describes what it takes.

Examples:
  jury train export --to trl --items pairs.jsonl --out trl-run \\
    --model Qwen/Qwen2.5-7B-Instruct
  jury train export --to verl --items pairs.jsonl --part train --out verl-run \\
    --model ./merged --beta 0.002";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainExportArgs {
    /// The trainer to write for
    #[arg(long, value_enum, value_name = "TRAINER")]
    pub to: TrainerArg,
    /// Files with items whose best response is known, one item per line; items with a single response need a label of 0
    /// or 1
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// The model to train, as the trainer finds it: a name on the Hugging Face Hub, or a folder
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Samples per group, 2 to 256
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = whole(2..=limits::MAX_K, "--group 4"),
        help_heading = "Hyperparameters",
    )]
    pub group: u32,
    /// Weight of the KL penalty, at least 0: 0.08 for the paper's 27B model, 0.002 for its 16B model
    #[arg(long, value_name = "X", default_value_t = 0.08, help_heading = "Hyperparameters")]
    pub beta: f64,
    /// Most tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Hyperparameters")]
    pub max_prompt_tokens: usize,
    /// Most tokens of a critique, 1 to 16384
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-critique-tokens 1024"),
        help_heading = "Hyperparameters",
    )]
    pub max_critique_tokens: u32,
    /// The trainer's seed, below 2^53
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = seed,
        help_heading = "Hyperparameters",
    )]
    pub seed: u64,
}

/// Supported trainers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrainerArg {
    /// TRL 1.16, GRPOTrainer
    Trl,
    /// verl 0.9
    Verl,
    /// OpenRLHF 0.11
    Openrlhf,
}
