//! `jury train rft`.

use std::path::PathBuf;

use jury_grm::domain::limits;
use jury_terminal::number::{real, seed, whole};

use crate::args::{ChoiceArgs, DrawArgs, DrawnReadout, JudgeArgs};

const EXAMPLES: &str = "\
Rejective fine-tuning, the cold start of Self-Principled Critique Tuning: every item is judged by a few samples without a \
hint and by one that is given the best response. Wrong samples and items that are too easy are dropped, and the model is \
tuned on the rest, as a LoRA adapter or with all its weights. Repeat the command to resume an interrupted run. \
docs/training.md describes how long it takes and how to use the data with other trainers.

Examples:
  jury train rft --items pairs.jsonl --part train --model smollm2-135m --out rft
  jury train rft --items pairs.jsonl --model smollm2-135m --out rft --data-only
  # all weights instead of an adapter
  jury train rft --items pairs.jsonl --model ./SmolLM2-135M-Instruct \\
    --out rft-full --full-weights
  # let a running cluster draw the samples
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
    /// Files with items whose best response is known, one item per line; items with a single response need a label of 0
    /// or 1
    #[arg(long, value_name = "FILE.jsonl", required = true, num_args = 1..)]
    pub items: Vec<PathBuf>,
    /// Folder of this run: samples, table, data, checkpoint, and adapter or model
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Stop after drawing, rejecting and writing the data; do not tune
    #[arg(long, conflicts_with = "sft_only")]
    pub data_only: bool,
    /// Draw no samples: tune on those in the folder of --out
    #[arg(long)]
    pub sft_only: bool,
    /// Do not print progress on stderr
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub choice: ChoiceArgs,

    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Samples per item without a hint, 1 to 256
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = whole(1..=limits::MAX_K, "-n 3"),
        help_heading = "Sampling",
    )]
    pub n: u32,
    /// How scores are read: guided makes every critique end with scores, for models that cannot follow the format yet;
    /// free parses whatever the model writes, as the paper does
    #[arg(long, value_enum, default_value_t = DrawnReadout::Guided, help_heading = "Sampling")]
    pub readout: DrawnReadout,
    #[command(flatten)]
    pub draw: DrawArgs,
    /// Keep correct samples whose critique hit --max-critique-tokens (they teach the model to stop mid-critique)
    #[arg(long, help_heading = "Sampling")]
    pub keep_cut: bool,

    /// General instruction data to mix in, one conversation per line: {"messages": [{"role", "content"}, ..]}
    #[arg(long, value_name = "FILE.jsonl", requires = "mix_share", help_heading = "Data")]
    pub mix: Option<PathBuf>,
    /// Share of the --mix conversations among all conversations, 0 to 0.95
    #[arg(long, value_name = "SHARE", requires = "mix", help_heading = "Data")]
    pub mix_share: Option<f64>,
    /// Most tokens of a conversation to train on; longer ones are left out and counted
    #[arg(long, value_name = "N", default_value_t = 2048, help_heading = "Data")]
    pub max_tokens: usize,

    /// Tune all weights instead of an adapter, and write a model folder of safetensors; the tuned model must be one as
    /// well. Takes about 20 bytes of memory per weight instead of 4, and 12 bytes of disk per weight for the checkpoint
    #[arg(long, conflicts_with_all = ["rank", "alpha", "targets", "data_only"], help_heading = "Tuning")]
    pub full_weights: bool,
    /// The model to tune, if it is not the one that draws (--endpoint or --model): a model of the catalogue, a GGUF
    /// file or a folder of safetensors [default: --model]
    #[arg(long, value_name = "MODEL", help_heading = "Tuning")]
    pub base: Option<String>,
    #[command(flatten)]
    pub tuning: TuningArgs,
    /// Passes over the data, at least 1
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        allow_negative_numbers = true,
        value_parser = whole(1..=1_000_000_usize, "--epochs 2"),
        help_heading = "Tuning",
    )]
    pub epochs: usize,
    /// Conversations per step, at least 1
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        allow_negative_numbers = true,
        value_parser = whole(1..=1_000_000_usize, "--batch 16"),
        help_heading = "Tuning",
    )]
    pub batch: usize,
    /// Peak learning rate, above 0 [default: 2e-4 for an adapter, 1e-5 for all weights]
    #[arg(
        long,
        value_name = "RATE",
        allow_negative_numbers = true,
        value_parser = above_0("--learning-rate 2e-4"),
        help_heading = "Tuning",
    )]
    pub learning_rate: Option<f64>,
    /// Seed of the samples, the adapter's initial weights and the order of the data, below 2^53
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

/// What is tuned, and in which steps.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tuning")]
pub struct TuningArgs {
    /// Rank of the adapter, 1 to 1024
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        allow_negative_numbers = true,
        value_parser = whole(1..=1024_usize, "--rank 16"),
    )]
    pub rank: usize,
    /// LoRA alpha, above 0: the adapter's output is multiplied by alpha / rank
    #[arg(
        long,
        value_name = "X",
        default_value_t = 32.0,
        allow_negative_numbers = true,
        value_parser = above_0("--alpha 32"),
    )]
    pub alpha: f64,
    /// Matrices to adapt, comma-separated, like q_proj,v_proj [default: all matrices of a layer]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// Warm-up: steps over which the learning rate grows from 0
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub warmup: u64,
    /// Weight decay, at least 0
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        value_parser = real(|x| x.is_finite() && x >= 0.0, "of at least 0", "--weight-decay 0.01"),
    )]
    pub weight_decay: f64,
    /// Gradient clipping: largest L2 norm of the gradient, above 0
    #[arg(
        long,
        value_name = "X",
        default_value_t = 1.0,
        allow_negative_numbers = true,
        value_parser = above_0("--clip 1"),
    )]
    pub clip: f64,
    /// Steps between checkpoints, at least 1
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: u64,
}
