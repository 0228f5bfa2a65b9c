//! `jury eval`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use jury_eval::method::Method;
use jury_eval::published::Format;
use jury_eval::split::Part;
use jury_grm::domain::{Readout, limits};
use jury_terminal::number::{seed, whole};

use super::{DrawArgs, JudgeArgs};

const EXAMPLES: &str = "\
Every item is judged once, with as many samples as the largest k; results for smaller k are votes over subsets of them. \
All results are stored in the folder of --out; repeat the command to resume an interrupted run. docs/evaluation.md \
explains how to read the report.

Examples:
  jury eval pairs.jsonl --k 1,2,4,8 --json report.json
  jury eval a.jsonl b.jsonl --limit 200 --endpoint http://127.0.0.1:7480
  # write the report again without drawing samples
  jury eval pairs.jsonl --out pairs.eval --replay
  # a published benchmark, with its own metrics
  jury eval reward-bench-2/data/test-00000-of-00001.parquet --k 4,8
  # a tuned judge without guided score lines
  jury eval pairs.jsonl --readout free --adapter rft
  # compare with a scalar reward model
  jury eval pairs.jsonl --baseline model:./Skywork-Reward-V2-Qwen3-0.6B
  # compare two reports on the same items
  jury eval compare small.json large.json
  # show where the judge is wrong
  jury eval report pairs.eval";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EvalArgs {
    #[command(subcommand)]
    pub command: Option<EvalCommand>,
    #[command(flatten)]
    pub run: EvalRunArgs,
}

#[derive(Debug, Clone, Subcommand)]
pub enum EvalCommand {
    /// Compare two or more reports: different models, or few samples against many
    Compare(CompareArgs),
    /// Show where the judge is wrong, or where a model under test loses: by principle and category, with examples
    Report(WeaknessArgs),
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  jury eval compare small.json large.json
  jury eval compare small.json large.json --picture compared.svg")]
pub struct CompareArgs {
    /// Reports of `jury eval`: files written with --json, or report.json of an evaluation's folder
    #[arg(value_name = "REPORT.json", num_args = 2.., required = true)]
    pub reports: Vec<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Plot accuracy against tokens and seconds per item, to a file that ends in .svg or .png
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A theme is a word in the names of the principles that the judge wrote. docs/evaluation.md explains how to read the report.

Examples:
  jury eval report pairs.eval
  # where the model that wrote the second responses loses
  jury eval report pairs.eval --response 1
  jury eval report pairs.eval --json --out weakness.json")]
pub struct WeaknessArgs {
    /// Folder of an evaluation, with its samples.parquet
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Report on a model under test instead of the judge: the model whose response has this index in every item, from 0
    #[arg(long, value_name = "INDEX")]
    pub response: Option<usize>,
    /// Fewest samples of a theme or category to list it
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub min_samples: usize,
    /// Fewest queries of a theme or category to list it
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub min_queries: usize,
    /// Write JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
    /// Write the report to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
pub struct EvalRunArgs {
    /// Files with one item per line, judged as one set; the correct response is `best`, or the one with the highest of
    /// `labels`. Or files of published benchmarks, as JSON, JSON lines or Parquet
    #[arg(value_name = "ITEMS.jsonl", required = true)]
    pub items: Vec<PathBuf>,
    /// Format of the files: items, rewardbench, rewardbench2, rm-bench, rmb, ppe, judgebench, llmbar or realmistake
    /// [default: detected from the fields]
    #[arg(long, value_name = "FORMAT", help_heading = "Items")]
    pub format: Option<Format>,

    /// Numbers of samples, comma-separated, each 1 to 256; the largest is drawn
    #[arg(short, long = "k", value_name = "K,..", value_delimiter = ',', default_value = "1,2,4,8",
        value_parser = whole(1..=limits::MAX_K, "--k 1,2,4,8"))]
    pub ks: Vec<u32>,
    /// Methods, comma-separated: greedy, vote, expected, majority; with a Meta RM also meta, meta_expected, weighted
    /// [default: all that apply]
    #[arg(long, value_name = "METHOD,..", value_delimiter = ',')]
    pub methods: Vec<Method>,
    /// Random subsets of the samples per point of the curve, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub draws: u32,

    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Reject files with a line or record that is not a valid item, repeats an id or exceeds a limit, instead of
    /// reporting and skipping it
    #[arg(long, help_heading = "Items")]
    pub strict: bool,

    #[command(flatten)]
    pub judge: JudgeArgs,
    /// The Meta RM that ranks the samples: head:FILE, a head on the judging model; model:FOLDER, a scalar reward model;
    /// or model:MODEL,head:FILE, a head on another model. Samples already in --out are ranked as well, even if drawn
    /// before the Meta RM was trained. With --endpoint, also the name of a Meta RM that the fleet serves. none: no
    /// ranking [default: none]
    #[arg(long, env = "JURY_META", value_name = "META", help_heading = "Judge")]
    pub meta: Option<String>,
    /// A scalar reward model to compare with on the same items, with one forward pass per response: model:FOLDER of a
    /// *ForSequenceClassification with one label. May be repeated
    #[arg(long = "baseline", value_name = "MODEL", help_heading = "Judge")]
    pub baselines: Vec<String>,

    /// How scores are read: guided makes every critique end with scores and keeps their distribution; free parses
    /// whatever the model writes, reports how much of it could be parsed, and leaves out the methods expected and
    /// meta_expected
    #[arg(long, value_enum, default_value_t = DrawnReadout::Guided, help_heading = "Sampling")]
    pub readout: DrawnReadout,
    #[command(flatten)]
    pub draw: DrawArgs,
    /// Seed of every request, below 2^53
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = seed,
        help_heading = "Sampling",
    )]
    pub seed: u64,
    /// Store the hidden states, which `jury train meta` is trained on
    #[arg(long, help_heading = "Sampling")]
    pub hidden_states: bool,

    /// Folder of this evaluation [default: the first file's name with the extension .eval]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Also write the report to this file as JSON; - is stdout
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Draw no samples: report on those in the folder of --out
    #[arg(long, help_heading = "Output")]
    pub replay: bool,
    /// With --replay: report on only the first N samples of each item, those that a run with k = N would have drawn, in
    /// the folder first-N of --out
    #[arg(long, value_name = "N", requires = "replay", help_heading = "Output",
        value_parser = whole(1..=limits::MAX_K, "--first 8"))]
    pub first: Option<u32>,
    /// Do not print progress on stderr
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}

/// How the scores of samples are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DrawnReadout {
    /// The engine writes the score line and samples each score from the legal ones
    Guided,
    /// The model writes the score box itself; it is parsed
    Free,
}

/// Which part of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PartArg {
    /// All items
    All,
    /// The training part
    Train,
    /// The held-out part
    Test,
}

/// Which of the items.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Items")]
pub struct ChoiceArgs {
    /// Most items, chosen at random by --split-seed, evenly over the files [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Part of the items to use: train on train, evaluate on test. The split is by query, so that no query is in both
    /// parts
    #[arg(long, value_enum, default_value_t = PartArg::All)]
    pub part: PartArg,
    /// Share of the queries in the training part, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub train_share: f64,
    /// Seed of the split and of --limit, below 2^53
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = whole(0..=limits::MAX_SEED, "--split-seed 7"),
    )]
    pub split_seed: u64,
}

// === impl PartArg ===

impl From<PartArg> for Option<Part> {
    fn from(part: PartArg) -> Self {
        match part {
            PartArg::All => None,
            PartArg::Train => Some(Part::Train),
            PartArg::Test => Some(Part::Test),
        }
    }
}

// === impl DrawnReadout ===

impl From<DrawnReadout> for Readout {
    fn from(readout: DrawnReadout) -> Self {
        match readout {
            // Drawn from their distribution, which is kept: one drawing serves the plain vote and the expectations.
            DrawnReadout::Guided => Self::Sampled,
            DrawnReadout::Free => Self::Free,
        }
    }
}

// === impl EvalRunArgs ===

impl EvalRunArgs {
    /// An evaluation of these items with every other default: what other commands draw and choose items by.
    pub fn of_items(items: Vec<PathBuf>, choice: ChoiceArgs, judge: JudgeArgs) -> Self {
        Self {
            items,
            choice,
            format: None,
            ks: vec![1],
            methods: vec![Method::Vote],
            draws: 1,
            strict: false,
            judge,
            meta: None,
            baselines: Vec::new(),
            readout: DrawnReadout::Guided,
            draw: DrawArgs::default(),
            seed: 0,
            hidden_states: false,
            out: None,
            json: None,
            replay: false,
            first: None,
            quiet: false,
        }
    }
}
