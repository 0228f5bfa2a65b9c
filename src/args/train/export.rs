//! `jury train export`.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_grm::domain::limits;
use jury_terminal::number::{seed, whole};

use crate::args::ChoiceArgs;

const EXAMPLES: &str = "\
The folder holds the items as prompts in the trainer's form, the rule as its reward function, and a launch file with the \
paper's numbers. It needs the Python package of client/python beside the trainer. docs/training.md says what it takes.

Examples:
  jury train export --to trl --items pairs.jsonl --out trl-run \\
    --model Qwen/Qwen2.5-7B-Instruct
  jury train export --to verl --items pairs.jsonl --part train --out verl-run \\
    --model ./merged --beta 0.002";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainExportArgs {
    /// The trainer
    #[arg(long, value_enum, value_name = "TRAINER")]
    pub to: TrainerArg,
    /// Files of items whose best response is known, one a line; single responses with a label of 0 or 1
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// The model that is trained, as the trainer finds it: a name on the hub or a folder
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Samples of a group
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = whole(2..=limits::MAX_K, "--group 4"),
        help_heading = "Numbers",
    )]
    pub group: u32,
    /// Weight of the KL: 0.08 in the paper's model of 27B, 0.002 in that of 16B
    #[arg(long, value_name = "X", default_value_t = 0.08, help_heading = "Numbers")]
    pub beta: f64,
    /// Longest prompt in tokens
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Numbers")]
    pub max_prompt_tokens: usize,
    /// Longest critique in tokens
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-critique-tokens 1024"),
        help_heading = "Numbers",
    )]
    pub max_critique_tokens: u32,
    /// The trainer's seed
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = seed,
        help_heading = "Numbers",
    )]
    pub seed: u64,
}

/// Trainers that folders are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrainerArg {
    /// TRL 1.16, GRPOTrainer
    Trl,
    /// verl 0.9
    Verl,
    /// OpenRLHF 0.11
    Openrlhf,
}
