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
Every item is judged once, with as many samples as the largest k; smaller ones are votes over parts of them. All of it \
lies in the folder of --out, and the same command goes on where it stopped, whatever stopped it. docs/evaluation.md tells \
how to read the report.

Examples:
  jury eval pairs.jsonl --k 1,2,4,8 --json report.json
  jury eval a.jsonl b.jsonl --limit 200 --endpoint http://127.0.0.1:7480
  # the report anew, nothing is drawn
  jury eval pairs.jsonl --out pairs.eval --replay
  # a published set, with its figures
  jury eval reward-bench-2/data/test-00000-of-00001.parquet --k 4,8
  # what a tuned judge writes unguided
  jury eval pairs.jsonl --readout free --adapter rft
  # beside a scalar reward model
  jury eval pairs.jsonl --baseline model:./Skywork-Reward-V2-Qwen3-0.6B
  # two reports on the same items
  jury eval compare small.json large.json
  # what the judge loses on
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
    /// Set two reports beside each other: two models, or few samples against many
    Compare(CompareArgs),
    /// Tell what the judge or a model under test loses on: principles and categories, with examples
    Report(WeaknessArgs),
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  jury eval compare small.json large.json
  jury eval compare small.json large.json --picture compared.svg")]
pub struct CompareArgs {
    /// Reports, as --json writes them
    #[arg(value_name = "REPORT.json", num_args = 2.., required = true)]
    pub reports: Vec<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Draw accuracy against tokens and seconds an item, to a file that ends in .svg or .png
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A theme is a word in the names of the principles that the judge wrote. docs/evaluation.md tells how to read it.

Examples:
  jury eval report pairs.eval
  # what the model of the second responses loses on
  jury eval report pairs.eval --response 1
  jury eval report pairs.eval --json --out weakness.json")]
pub struct WeaknessArgs {
    /// The folder of an evaluation, with its samples.parquet
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Tell what a model under test loses on in place of the judge: the one whose response has this index in every item, from 0
    #[arg(long, value_name = "INDEX")]
    pub response: Option<usize>,
    /// Samples that a theme or category needs to be listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub min_samples: usize,
    /// Queries that it needs
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub min_queries: usize,
    /// JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
    /// Write it to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
pub struct EvalRunArgs {
    /// Files of items, one a line, judged as one set; best, or the highest of labels, is what rewards are held against. Or
    /// files of published sets, as JSON, JSON lines or Parquet
    #[arg(value_name = "ITEMS.jsonl", required = true)]
    pub items: Vec<PathBuf>,
    /// What the files hold: items, rewardbench, rewardbench2, rm-bench, rmb, ppe, judgebench, llmbar or realmistake
    /// [default: told by the fields]
    #[arg(long, value_name = "FORMAT", help_heading = "Items")]
    pub format: Option<Format>,

    /// Numbers of samples, comma-separated; the largest is drawn
    #[arg(short, long = "k", value_name = "K,..", value_delimiter = ',', default_value = "1,2,4,8",
        value_parser = whole(1..=limits::MAX_K, "--k 1,2,4,8"))]
    pub ks: Vec<u32>,
    /// Ways to judge, comma-separated: greedy, vote, expected, majority; with a Meta RM meta, meta_expected, weighted
    /// [default: all that apply]
    #[arg(long, value_name = "METHOD,..", value_delimiter = ',')]
    pub methods: Vec<Method>,
    /// Subsets of the samples behind each point
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub draws: u32,

    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Refuse files with a line or record that is no item, has an id once more or is beyond a limit, instead of naming it and
    /// going on
    #[arg(long, help_heading = "Items")]
    pub strict: bool,

    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Who ranks the samples: head:FILE, a head on the judging model; model:FOLDER, a scalar reward model; or
    /// model:MODEL,head:FILE, a head on a model of its own. All rank what is in the folder of --out, before they were
    /// trained too. With --endpoint also the name of a Meta RM of the fleet. none: nobody ranks
    #[arg(long, env = "JURY_META", value_name = "META", help_heading = "Who judges")]
    pub meta: Option<String>,
    /// A scalar reward model that judges the same items beside the judge, each response by one pass: model:FOLDER of a
    /// *ForSequenceClassification with one label. May be given several times
    #[arg(long = "baseline", value_name = "MODEL", help_heading = "Who judges")]
    pub baselines: Vec<String>,

    /// How scores are read: guided makes every critique end in scores and keeps their distribution; free takes what the
    /// model writes by itself, tells how much of it parses, and leaves out the expected methods
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
    /// Keep the hidden states that `jury train meta` learns from
    #[arg(long, help_heading = "Sampling")]
    pub hidden_states: bool,

    /// The folder of this evaluation [default: the first file's name with .eval]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Write the report here too, as JSON; - is stdout
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Draw nothing: report on what the folder of --out has
    #[arg(long, help_heading = "Output")]
    pub replay: bool,
    /// With --replay: report on the first N samples of each item alone, what a run with that many would have drawn, in the folder
    /// first-N of --out
    #[arg(long, value_name = "N", requires = "replay", help_heading = "Output",
        value_parser = whole(1..=limits::MAX_K, "--first 8"))]
    pub first: Option<u32>,
    /// No progress on stderr
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}

/// How the scores of samples that are kept are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DrawnReadout {
    /// The engine writes the score line and samples each score
    Guided,
    /// The model writes its own score box
    Free,
}

/// Which part of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PartArg {
    /// Every item
    All,
    /// What a Meta RM may be trained on
    Train,
    /// What nothing was trained on
    Test,
}

/// Which of the items.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Items")]
pub struct ChoiceArgs {
    /// At most so many items, drawn evenly over the files by --split-seed
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The part that is judged or learned from: one learns from train and measures on test. Queries are split, so that no
    /// query stands in both
    #[arg(long, value_enum, default_value_t = PartArg::All)]
    pub part: PartArg,
    /// Share of the queries that are for training
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub train_share: f64,
    /// Seed of the split and of --limit
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
