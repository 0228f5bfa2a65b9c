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

/// Numbers of an inner layer. With the widest states its weights are some GiB, and samples to learn so many from are not at hand.
const MOST_INNER: usize = 65_536;

const EXAMPLES: &str = "\
Samples are drawn with their hidden states and labelled: correct where the best response is strictly highest. A head \
learns to tell correct samples from wrong ones; docs/meta-rm.md says how. The same command goes on where it stopped.

Examples:
  jury train meta --items pairs.jsonl --part train --model smollm2-135m \\
    --out head.safetensors
  jury eval pairs.jsonl --part test --model smollm2-135m \\
    --meta head:head.safetensors
  # a head on the states of another model, and a worker that ranks with it
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
    /// Add an adapter to its model's weights, for programs that know no adapters
    Merge(TrainMergeArgs),
    /// Rejective fine-tuning: draw samples, keep the right ones, tune the judge on them
    Rft(Box<TrainRftArgs>),
    /// Rule-based online RL: rewards by whether the best response got the highest score
    Rl(Box<TrainRlArgs>),
    /// Write a folder that TRL, verl or OpenRLHF runs: data, rule and launch file for training at scale
    Export(TrainExportArgs),
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainMetaArgs {
    /// Files of items whose best response is known, one a line
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// Where the head goes; its model card goes beside it, with .md
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    /// The name by which requests ask for the head [default: the file's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// No progress on stderr
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub choice: ChoiceArgs,

    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Another model whose states the head reads, instead of the judge's own: it reads prompt and sample once more, as a Meta
    /// RM of its own does. Any that --model takes
    #[arg(long, value_name = "MODEL", help_heading = "Training")]
    pub backbone: Option<String>,
    /// Samples an item
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
    /// The folder of the samples, as `jury eval --hidden-states` makes it [default: --out with .samples]
    #[arg(long, value_name = "DIR", help_heading = "Sampling")]
    pub samples: Option<PathBuf>,
    /// More folders of samples on the same items, by other judges, as of the stage before: an evaluation's, or one of
    /// `jury train rft`. Nothing is drawn there. With --backbone, whose states are of one model whoever judged
    #[arg(long, value_name = "DIR", requires = "backbone", help_heading = "Sampling")]
    pub more_samples: Vec<PathBuf>,
    /// Draw nothing: learn from what the folder of --samples has
    #[arg(long, help_heading = "Sampling")]
    pub replay: bool,

    /// Numbers of an inner layer; 0: none, the head is linear
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = whole(0..=MOST_INNER, "--inner 64"),
        help_heading = "Training",
    )]
    pub inner: usize,
    /// Seed of samples, parts, weights and order
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
