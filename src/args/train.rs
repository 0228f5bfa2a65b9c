//! `jury train`.

mod export;
mod merge;
mod rft;
mod rl;

use std::path::PathBuf;

use clap::Subcommand;
use jury_grm::domain::limits;
use jury_terminal::number::{seed, whole};

pub use self::merge::{DtypeArg, TrainMergeArgs};
use super::{ChoiceArgs, DrawArgs, JudgeArgs};

pub use self::export::{TrainExportArgs, TrainerArg};
pub use self::rft::{TrainRftArgs, TuningArgs};
pub use self::rl::TrainRlArgs;

/// Most numbers of an inner layer: with the widest states its weights already take some GiB, more than there are
/// samples to train on.
const MOST_INNER: usize = 65_536;

const EXAMPLES: &str = "\
Samples are drawn with their hidden states and labelled: a sample is correct if it scores the best response strictly \
highest. A head is trained to tell correct samples from wrong ones; docs/meta-rm.md describes how. Repeat the command to \
resume an interrupted run.

Examples:
  jury train meta --items pairs.jsonl --part train --model smollm2-135m \\
    --out head.safetensors
  jury eval pairs.jsonl --part test --model smollm2-135m \\
    --meta head:head.safetensors
  # a head on another model's states, and a worker that ranks with it
  jury train meta --items pairs.jsonl --part train --model qwen2.5-coder-0.5b \\
    --backbone smollm2-135m --out apart.safetensors
  jury worker --role meta --model smollm2-135m --head apart.safetensors";

#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Example:\n  jury train rft --items pairs.jsonl --model smollm2-135m --out rft"
)]
pub struct TrainArgs {
    #[command(subcommand)]
    pub command: TrainCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TrainCommand {
    /// Train a Meta RM: a head on the judging model's hidden states that ranks its samples
    Meta(Box<TrainMetaArgs>),
    /// Merge an adapter into its model's weights, for programs that do not support adapters
    Merge(TrainMergeArgs),
    /// Rejective fine-tuning: draw samples, keep the correct ones, and tune the judge on them
    Rft(Box<TrainRftArgs>),
    /// Rule-based online RL: a sample is rewarded if it gives the best response the highest score
    Rl(Box<TrainRlArgs>),
    /// Write a folder for training at scale with TRL, verl or OpenRLHF: data, reward function and launch file
    Export(TrainExportArgs),
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainMetaArgs {
    /// Files with items whose best response is known, one item per line
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// File to write the head to; its model card is written next to it, with the extension .md
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    /// Name by which requests ask for the head [default: the file's name without extension]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Do not print progress on stderr
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub choice: ChoiceArgs,

    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Train the head on another model's hidden states instead of the judge's: that model reads prompt and sample
    /// again, as it does when it serves as a separate Meta RM. Takes the same values as --model
    #[arg(long, value_name = "MODEL", help_heading = "Training")]
    pub backbone: Option<String>,
    /// Samples per item, 1 to 256
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = whole(1..=limits::MAX_K, "-k 8"),
        help_heading = "Sampling",
    )]
    pub k: u32,
    #[command(flatten)]
    pub draw: DrawArgs,
    /// Folder of the samples, in the format of `jury eval --hidden-states` [default: --out with the extension .samples]
    #[arg(long, value_name = "DIR", help_heading = "Sampling")]
    pub samples: Option<PathBuf>,
    /// Further folders with samples of the same items by other judges, such as an earlier training stage: the folder of
    /// an evaluation or of `jury train rft`. No samples are drawn there. Needs --backbone, so that all states come from
    /// one model
    #[arg(long, value_name = "DIR", requires = "backbone", help_heading = "Sampling")]
    pub more_samples: Vec<PathBuf>,
    /// Draw no samples: train on those in the folder of --samples
    #[arg(long, help_heading = "Sampling")]
    pub replay: bool,

    /// Width of an inner layer, 0 to 65536; 0: no inner layer, the head is linear
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = whole(0..=MOST_INNER, "--inner 64"),
        help_heading = "Training",
    )]
    pub inner: usize,
    /// Seed of the samples, of the split into parts for fitting, validation and test, of the initial weights and of the order,
    /// below 2^53
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = seed,
        help_heading = "Training",
    )]
    pub seed: u64,
}
