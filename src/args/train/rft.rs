//! `jury train rft`.

use std::path::PathBuf;

use jury_grm::domain::limits;
use jury_terminal::number::{real, seed, whole};

use crate::args::{ChoiceArgs, DrawArgs, DrawnReadout, JudgeArgs};

const EXAMPLES: &str = "\
Rejective fine-tuning, the cold start of Self-Principled Critique Tuning: every item is judged by a few samples without a \
hint and one that is told the best response. Wrong samples go, items that are too easy go, and the model is tuned on what \
is left, as a LoRA adapter or with all its weights. The same command goes on where it stopped, whatever stopped it. \
docs/training.md says how long it takes, and how the data goes to other trainers.

Examples:
  jury train rft --items pairs.jsonl --part train --model smollm2-135m --out rft
  jury train rft --items pairs.jsonl --model smollm2-135m --out rft --data-only
  # all weights instead of an adapter
  jury train rft --items pairs.jsonl --model ./SmolLM2-135M-Instruct \\
    --out rft-full --full-weights
  # drawn by a running cluster
  jury train rft --items pairs.jsonl --endpoint http://127.0.0.1:7480 \\
    --out rft --data-only";

/// Reads a number above 0.
pub(super) fn above_0(
    example: &'static str,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    real(|number| number.is_finite() && number > 0.0, "above 0", example)
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainRftArgs {
    /// Files of items whose best response is known, one a line; single responses with a label of 0 or 1
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// The folder of this run: samples, table, data, checkpoint, adapter or model
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Draw, reject and write the data; tune nothing
    #[arg(long, conflicts_with = "sft_only")]
    pub data_only: bool,
    /// Draw nothing: tune on what the folder has
    #[arg(long)]
    pub sft_only: bool,
    /// No progress on stderr
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub choice: ChoiceArgs,

    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Samples an item without a hint
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = whole(1..=limits::MAX_K, "-n 3"),
        help_heading = "Sampling",
    )]
    pub n: u32,
    /// How scores are read: guided makes every critique end in scores, as a model needs that cannot keep the form yet;
    /// free takes what the model writes by itself, as the paper does
    #[arg(long, value_enum, default_value_t = DrawnReadout::Guided, help_heading = "Sampling")]
    pub readout: DrawnReadout,
    #[command(flatten)]
    pub draw: DrawArgs,
    /// Keep right samples whose critique was cut off at that length; they teach to stop in the middle
    #[arg(long, help_heading = "Sampling")]
    pub keep_cut: bool,

    /// General instruction data to mix in, a conversation a line: {"messages": [{"role", "content"}, ..]}
    #[arg(long, value_name = "FILE.jsonl", requires = "mix_share", help_heading = "Data")]
    pub mix: Option<PathBuf>,
    /// Its share of all conversations, 0 to 0.95
    #[arg(long, value_name = "SHARE", requires = "mix", help_heading = "Data")]
    pub mix_share: Option<f64>,
    /// Longest conversation that is learned from, in tokens; longer ones are left out and counted
    #[arg(long, value_name = "N", default_value_t = 2048, help_heading = "Data")]
    pub max_tokens: usize,

    /// Tune all weights instead of an adapter, and write a model: a folder of safetensors, as the tuned one must be. Takes
    /// about 20 bytes of memory a weight instead of 4, and 12 on the disk for the checkpoint
    #[arg(long, conflicts_with_all = ["rank", "alpha", "targets", "data_only"], help_heading = "Tuning")]
    pub full_weights: bool,
    /// The model that is tuned, when --endpoint or --model name who draws: a model of the catalogue, a GGUF file or a
    /// folder of safetensors [default: --model]
    #[arg(long, value_name = "MODEL", help_heading = "Tuning")]
    pub base: Option<String>,
    #[command(flatten)]
    pub tuning: TuningArgs,
    /// Passes over the data
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        allow_negative_numbers = true,
        value_parser = whole(1..=1_000_000_usize, "--epochs 2"),
        help_heading = "Tuning",
    )]
    pub epochs: usize,
    /// Conversations of one step
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        allow_negative_numbers = true,
        value_parser = whole(1..=1_000_000_usize, "--batch 16"),
        help_heading = "Tuning",
    )]
    pub batch: usize,
    /// Step size at its highest [default: 2e-4 for an adapter, 1e-5 for all weights]
    #[arg(
        long,
        value_name = "RATE",
        allow_negative_numbers = true,
        value_parser = above_0("--learning-rate 2e-4"),
        help_heading = "Tuning",
    )]
    pub learning_rate: Option<f64>,
    /// Seed of samples, of the adapter's start and of the order of the data
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

/// What learns, and in which steps.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tuning")]
pub struct TuningArgs {
    /// Rank of the adapter
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        allow_negative_numbers = true,
        value_parser = whole(1..=1024_usize, "--rank 16"),
    )]
    pub rank: usize,
    /// The adapter's output is multiplied by alpha / rank
    #[arg(
        long,
        value_name = "X",
        default_value_t = 32.0,
        allow_negative_numbers = true,
        value_parser = above_0("--alpha 32"),
    )]
    pub alpha: f64,
    /// Matrices that get an adapter, comma-separated [default: all of a layer]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// Steps over which the step size grows from 0
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub warmup: u64,
    /// Decay of weights
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        value_parser = real(|x| x.is_finite() && x >= 0.0, "of at least 0", "--weight-decay 0.01"),
    )]
    pub weight_decay: f64,
    /// Longest gradient (L2); longer ones are shortened
    #[arg(
        long,
        value_name = "X",
        default_value_t = 1.0,
        allow_negative_numbers = true,
        value_parser = above_0("--clip 1"),
    )]
    pub clip: f64,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: u64,
}
