//! `jury score`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, ValueEnum};
use jury_grm::domain::{Readout, Scale, StopRule, VoteRule, limits};
use jury_terminal::number::{critique_tokens, seed, time, whole};

use super::{JudgeArgs, TraceArgs};

const EXAMPLES: &str = "\
See docs/verdict.md for the verdict's JSON, docs/templates.md for templates, and docs/voting.md for votes and stop rules.

Examples:
  # judge one item in this process, with the default model
  jury score examples/capital.json
  # more samples, and the verdict as JSON
  jury score item.json --json -k 16 --seed 7
  # up to 32 samples, fewer if the pick is certain before
  jury score item.json -k 32 --stop lossless
  # let a running cluster judge
  jury score item.json --endpoint http://127.0.0.1:7480
  jury score --items items.jsonl --out verdicts.jsonl --resume
  jury score --items items.jsonl --out verdicts.jsonl --record samples.parquet";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("input").required(true).args(["item", "items"])))]
pub struct ScoreArgs {
    /// File with one item as JSON ({"query", "responses", ..}); - reads stdin
    #[arg(value_name = "ITEM.json")]
    pub item: Option<PathBuf>,
    /// File with one item per line; - reads stdin. Prints one verdict per line. Ids must be unique; an item without an
    /// id is called line-N after its line
    #[arg(long, value_name = "FILE.jsonl")]
    pub items: Option<PathBuf>,

    #[command(flatten)]
    pub judge: JudgeArgs,

    /// Samples to draw, 1 to 256; preferably a multiple of the number of responses, so that each appears in every
    /// position equally often (judges have position bias) [default: 8]
    #[arg(short, long, env = "JURY_K", value_name = "N",
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "-k 8"),
        help_heading = "Sampling")]
    pub k: Option<u32>,
    /// Softmax temperature, 0 (greedy) to 2 [default: 0.5]
    #[arg(
        long,
        env = "JURY_TEMPERATURE",
        value_name = "T",
        allow_negative_numbers = true,
        help_heading = "Sampling"
    )]
    pub temperature: Option<f64>,
    /// Nucleus sampling: probability mass to sample from, above 0 and at most 1 [default: 1]
    #[arg(
        long,
        env = "JURY_TOP_P",
        value_name = "P",
        allow_negative_numbers = true,
        help_heading = "Sampling"
    )]
    pub top_p: Option<f64>,
    /// Most tokens of a critique, 1 to 16384 [default: 512]
    #[arg(long, env = "JURY_MAX_CRITIQUE_TOKENS", value_name = "N",
        allow_negative_numbers = true, value_parser = critique_tokens,
        help_heading = "Sampling")]
    pub max_critique_tokens: Option<u32>,
    /// How scores are read [default: expected]
    #[arg(long, env = "JURY_READOUT", value_enum, help_heading = "Sampling")]
    pub readout: Option<ReadoutArg>,
    /// A guided sample (--readout sampled or expected) fails if the model gives the legal scores less than this
    /// probability, 0 to 1 [default: 0.01]
    #[arg(
        long,
        env = "JURY_MIN_READOUT_MASS",
        value_name = "P",
        allow_negative_numbers = true,
        help_heading = "Sampling"
    )]
    pub min_readout_mass: Option<f64>,
    /// Lowest and highest legal score, whole numbers from 0 to 100 [default: 1..10]
    #[arg(
        long,
        env = "JURY_SCALE",
        value_name = "MIN..MAX",
        allow_hyphen_values = true,
        help_heading = "Sampling"
    )]
    pub scale: Option<ScaleArg>,
    /// Most responses shown in one sample, 2 to 64 [default: 8]
    #[arg(
        long,
        env = "JURY_MAX_PANEL",
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Sampling"
    )]
    pub max_panel: Option<u32>,
    /// Seed of the request, below 2^53; the same seed gives the same verdict
    #[arg(
        long,
        env = "JURY_SEED",
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 0,
        value_parser = seed,
        help_heading = "Sampling"
    )]
    pub seed: u64,

    /// How the samples vote [default: top with a Meta RM, mean without]
    #[arg(long, env = "JURY_VOTE", value_enum, value_name = "RULE", help_heading = "Voting")]
    pub vote: Option<VoteArg>,
    /// The Meta RM that ranks the samples: head:FILE, a head on the judging model; model:FOLDER, a scalar reward model;
    /// or model:MODEL,head:FILE, a head on another model. With --endpoint: the name of a Meta RM that the workers serve
    /// (see `jury status`). none: no ranking. If the Meta RM is unavailable, all valid samples vote and the verdict is
    /// PARTIAL [default: none]
    #[arg(long, env = "JURY_META", value_name = "META", help_heading = "Voting")]
    pub meta: Option<String>,
    /// With --vote top: how many of the highest-ranked samples vote, 1 to k [default: k / 2 rounded down, at least 1]
    #[arg(long, env = "JURY_K_META", value_name = "N",
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "--k-meta 4"),
        help_heading = "Voting")]
    pub k_meta: Option<u32>,
    /// When to stop before all k samples are drawn; checked each time every response has been shown in every position
    /// equally often. never; lossless: no outcome of the remaining samples can change the pick; confidence=0.95: the
    /// pick of all k samples is known with this probability, above 0.5 and below 1; width=0.3: the 95 % interval of
    /// every reward is at most this wide, in points of the scale [default: never]
    #[arg(long, env = "JURY_STOP", value_name = "RULE", help_heading = "Voting")]
    pub stop: Option<StopArg>,
    /// Spare samples, 0 to k; each replaces a sample whose text has no readable scores [default: 0]
    #[arg(long, env = "JURY_REFILL", value_name = "N",
        allow_negative_numbers = true, value_parser = whole(0..=limits::MAX_K, "--refill 2"),
        help_heading = "Voting")]
    pub refill: Option<u32>,

    /// Time budget of each item, like 90s or 5m, 1ms to 24h [default: 60s with --endpoint, else 5m]
    #[arg(long, env = "JURY_BUDGET", value_name = "TIME", value_parser = time, help_heading = "Answer")]
    pub budget: Option<Duration>,
    /// Fewest valid samples that a reward needs, 1 to k [default: k / 2, rounded up]
    #[arg(
        long,
        env = "JURY_MIN_SAMPLES",
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Answer"
    )]
    pub min_samples: Option<u32>,
    /// Include the samples in the verdict's JSON
    #[arg(long, help_heading = "Answer")]
    pub samples: bool,
    /// With --samples: also include the hidden states, which heads are trained on
    #[arg(long, requires = "samples", help_heading = "Answer")]
    pub hidden_states: bool,
    /// Write every sample as a row of this Parquet file, for pandas, polars or duckdb; docs/evaluation.md lists the
    /// columns. A batch also needs --out, whose verdicts then include their samples, and --items from a file; its rows
    /// are written when the batch ends or is interrupted
    #[arg(long, value_name = "FILE.parquet", help_heading = "Answer")]
    pub record: Option<PathBuf>,
    /// Print the verdict as one JSON object
    #[arg(long, help_heading = "Answer")]
    pub json: bool,
    /// Do not print progress on stderr
    #[arg(short, long, help_heading = "Answer")]
    pub quiet: bool,

    /// Write the verdicts of --items to this file instead of stdout
    #[arg(long, value_name = "FILE", help_heading = "Batches")]
    pub out: Option<PathBuf>,
    /// Continue --out: skip items that already have a verdict, and retry those that are UNSCORED for a reason that a
    /// retry may fix (budget, no_worker, unknown_model, worker_failed, too_large, rejected). New verdicts are inserted
    /// in the order of the items. A file made with other settings, another seed, model, Meta RM or template is rejected
    #[arg(long, requires = "out", help_heading = "Batches")]
    pub resume: bool,
    /// With --resume: continue even if the file's verdicts were made with other settings, seed, model, Meta RM or
    /// template
    #[arg(long, requires = "resume", help_heading = "Batches")]
    pub allow_mixed: bool,
    /// Write verdicts as they become ready instead of in the order of the items
    #[arg(long, help_heading = "Batches")]
    pub unordered: bool,
    /// Items judged at once, 1 to 1024 [default: with --endpoint as many as the fleet can handle without items using up
    /// their budgets in a queue, at most 256; else at most 2]
    #[arg(
        long,
        env = "JURY_CONCURRENCY",
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Batches"
    )]
    pub concurrency: Option<usize>,
    #[command(flatten)]
    pub traces: TraceArgs,
}

/// How scores are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReadoutArg {
    /// The model writes the score box itself; it is parsed
    Free,
    /// Guided: the engine writes the score line and samples each score from the legal ones
    Sampled,
    /// Guided: the engine writes the score line; each score is the mean of its distribution over the legal ones
    Expected,
}

/// How samples vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VoteArg {
    /// A reward is the mean score over all valid samples
    Mean,
    /// A reward is the mean score over the --k-meta samples that the Meta RM ranks highest
    Top,
    /// A reward is the share of samples that score the response highest, 0 to 1
    Majority,
    /// A reward is the mean score, each sample weighted by the Meta RM's probability that it is right
    Weighted,
}

/// `never`, `lossless`, `confidence=P` or `width=X`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopArg(pub StopRule);

/// `MIN..MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleArg(pub Scale);

impl From<ReadoutArg> for Readout {
    fn from(readout: ReadoutArg) -> Self {
        match readout {
            ReadoutArg::Free => Self::Free,
            ReadoutArg::Sampled => Self::Sampled,
            ReadoutArg::Expected => Self::Expected,
        }
    }
}

impl From<VoteArg> for VoteRule {
    fn from(vote: VoteArg) -> Self {
        match vote {
            VoteArg::Mean => Self::Mean,
            VoteArg::Top => Self::Top,
            VoteArg::Majority => Self::Majority,
            VoteArg::Weighted => Self::Weighted,
        }
    }
}

impl FromStr for StopArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known =
            "write never, lossless, confidence=P like confidence=0.95, or width=X like width=0.3";
        let (rule, number) = text.split_once('=').unzip();
        let number = || {
            let number = number.unwrap_or_default();
            number.trim().parse::<f64>().map_err(|_| format!("{known}; {number:?} is not a number"))
        };
        match rule.unwrap_or(text).trim() {
            "never" => Ok(Self(StopRule::Never)),
            "lossless" => Ok(Self(StopRule::Lossless)),
            "confidence" => Ok(Self(StopRule::Confidence(number()?))),
            "width" => Ok(Self(StopRule::Width(number()?))),
            other => Err(format!("{known}, not {other:?}")),
        }
    }
}

impl FromStr for ScaleArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("write MIN..MAX, two whole numbers like 1..10, not {text:?}");
        let (min, max) = text.split_once("..").ok_or_else(malformed)?;
        let number = |part: &str| part.trim().parse::<i32>().map_err(|_| malformed());
        Ok(Self(Scale { min: number(min)?, max: number(max)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_rule_reads_with_its_number() {
        let read = |text: &str| text.parse::<StopArg>().map(|stop| stop.0);
        assert_eq!(read("never"), Ok(StopRule::Never));
        assert_eq!(read("lossless"), Ok(StopRule::Lossless));
        assert_eq!(read("confidence=0.95"), Ok(StopRule::Confidence(0.95)));
        assert_eq!(read("width=0.3"), Ok(StopRule::Width(0.3)));
        for wrong in ["confidence", "confidence=high", "soon", "width="] {
            let problem = read(wrong).unwrap_err();
            assert!(problem.starts_with("write never, lossless, confidence=P"), "{problem}");
        }
    }

    #[test]
    fn a_scale_reads_as_its_two_ends() {
        assert_eq!("0..1".parse(), Ok(ScaleArg(Scale::BINARY)));
        assert!("1-10".parse::<ScaleArg>().unwrap_err().contains("MIN..MAX"));
        assert!("1..x".parse::<ScaleArg>().is_err());
    }
}
