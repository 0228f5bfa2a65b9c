//! `jury score`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, ValueEnum};
use jury_grm::domain::{Readout, Scale, StopRule, VoteRule, limits};
use jury_terminal::number::{critique_tokens, seed, time, whole};

use super::{JudgeArgs, TraceArgs};

const EXAMPLES: &str = "\
The verdict's JSON is annotated in docs/verdict.md, templates are explained in docs/templates.md, votes and stop rules in \
docs/voting.md.

Examples:
  # one item here, with a small model
  jury score examples/capital.json
  # the verdict as JSON, more samples
  jury score item.json --json -k 16 --seed 7
  # up to 32 samples, fewer once the pick is safe
  jury score item.json -k 32 --stop lossless
  # by a running cluster
  jury score item.json --endpoint http://127.0.0.1:7480
  jury score --items items.jsonl --out verdicts.jsonl --resume
  jury score --items items.jsonl --out verdicts.jsonl --record samples.parquet";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("input").required(true).args(["item", "items"])))]
pub struct ScoreArgs {
    /// A file with one item as JSON ({"query", "responses", ..}); - reads stdin
    #[arg(value_name = "ITEM.json")]
    pub item: Option<PathBuf>,
    /// A file with one item a line; - reads stdin. Prints one verdict a line. Ids must differ; an
    /// item without one takes the name of its line, line-N
    #[arg(long, value_name = "FILE.jsonl")]
    pub items: Option<PathBuf>,

    #[command(flatten)]
    pub judge: JudgeArgs,

    /// Samples to draw, 1 to 256; best a multiple of the number of responses (even for pairs), so that each
    /// stands in every place equally often: a judge prefers places [default: 8]
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
    /// Nucleus mass, above 0 and at most 1 [default: 1]
    #[arg(
        long,
        env = "JURY_TOP_P",
        value_name = "P",
        allow_negative_numbers = true,
        help_heading = "Sampling"
    )]
    pub top_p: Option<f64>,
    /// Longest critique, 1 to 16384 tokens [default: 512]
    #[arg(long, env = "JURY_MAX_CRITIQUE_TOKENS", value_name = "N",
        allow_negative_numbers = true, value_parser = critique_tokens,
        help_heading = "Sampling")]
    pub max_critique_tokens: Option<u32>,
    /// How scores are read [default: expected]
    #[arg(long, env = "JURY_READOUT", value_enum, help_heading = "Sampling")]
    pub readout: Option<ReadoutArg>,
    /// A guided sample fails when its model gave less than this probability to the legal scores,
    /// 0 to 1 [default: 0.01]
    #[arg(
        long,
        env = "JURY_MIN_READOUT_MASS",
        value_name = "P",
        allow_negative_numbers = true,
        help_heading = "Sampling"
    )]
    pub min_readout_mass: Option<f64>,
    /// The legal scores, lowest and highest [default: 1..10]
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

    /// How the samples vote [default: top with a Meta RM, else mean]
    #[arg(long, env = "JURY_VOTE", value_enum, value_name = "RULE", help_heading = "Voting")]
    pub vote: Option<VoteArg>,
    /// The Meta RM that ranks the samples: head:FILE, a head on the judging model; model:FOLDER, a scalar reward model;
    /// or model:MODEL,head:FILE, a head on a model of its own; with --endpoint, the name of one that the workers have
    /// (`jury status`); none: nobody ranks. Where it cannot rank, all valid samples vote and the verdict is PARTIAL
    /// [default: none]
    #[arg(long, env = "JURY_META", value_name = "META", help_heading = "Voting")]
    pub meta: Option<String>,
    /// With a Meta RM, samples that vote, best first, 1 to k [default: half of k]
    #[arg(long, env = "JURY_K_META", value_name = "N",
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "--k-meta 4"),
        help_heading = "Voting")]
    pub k_meta: Option<u32>,
    /// When to stop before all k samples are drawn, asked whenever each response stood in each place
    /// equally often: never; lossless: no outcome of the rest can change the pick; confidence=0.95:
    /// the pick of all k is known with this probability; width=0.3: the 95 % interval of every
    /// reward is at most this wide [default: never]
    #[arg(long, env = "JURY_STOP", value_name = "RULE", help_heading = "Voting")]
    pub stop: Option<StopArg>,
    /// Spare samples, 0 to k: one takes the place of each sample whose text gave no scores [default: 0]
    #[arg(long, env = "JURY_REFILL", value_name = "N",
        allow_negative_numbers = true, value_parser = whole(0..=limits::MAX_K, "--refill 2"),
        help_heading = "Voting")]
    pub refill: Option<u32>,

    /// Time until the answer, like 90s or 5m [default: 60s, embedded 5m]
    #[arg(long, env = "JURY_BUDGET", value_name = "TIME", value_parser = time, help_heading = "Answer")]
    pub budget: Option<Duration>,
    /// Fewest valid samples worth a verdict, 1 to k [default: half of k]
    #[arg(
        long,
        env = "JURY_MIN_SAMPLES",
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Answer"
    )]
    pub min_samples: Option<u32>,
    /// Put the samples into the JSON of the verdict
    #[arg(long, help_heading = "Answer")]
    pub samples: bool,
    /// With --samples, put the hidden states in, too, on which a head is trained
    #[arg(long, requires = "samples", help_heading = "Answer")]
    pub hidden_states: bool,
    /// Write every sample as a row of this Parquet file, for pandas, polars or duckdb; docs/evaluation.md names the
    /// columns. A batch needs --out, whose verdicts then hold their samples, and an --items file; the rows are written
    /// when it ends, on Ctrl-C, too
    #[arg(long, value_name = "FILE.parquet", help_heading = "Answer")]
    pub record: Option<PathBuf>,
    /// Print the verdict as one JSON object
    #[arg(long, help_heading = "Answer")]
    pub json: bool,
    /// No progress on stderr
    #[arg(short, long, help_heading = "Answer")]
    pub quiet: bool,

    /// Write the verdicts to this file instead of stdout; needs --items
    #[arg(long, value_name = "FILE", help_heading = "Batches")]
    pub out: Option<PathBuf>,
    /// Go on with --out: skip the items whose verdicts it has, and judge those again that are
    /// UNSCORED for a reason that may pass (budget, no_worker, unknown_model, worker_failed, too_large, rejected).
    /// New verdicts take their place in the order of the items. A file made with other settings, seed, model or
    /// template is refused
    #[arg(long, requires = "out", help_heading = "Batches")]
    pub resume: bool,
    /// With --resume, go on though the file's verdicts were made in another way
    #[arg(long, requires = "resume", help_heading = "Batches")]
    pub allow_mixed: bool,
    /// Write verdicts as they are ready instead of in the order of the items
    #[arg(long, help_heading = "Batches")]
    pub unordered: bool,
    /// Items judged at once, 1 to 1024 [default: as many as the fleet draws without one spending
    /// its budget behind others, embedded at most 2]
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
    /// The model writes its own score box, which is parsed
    Free,
    /// The engine writes the score line and samples each score from the legal ones
    Sampled,
    /// The engine writes the score line; each score is the mean of its distribution
    Expected,
}

/// How samples vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VoteArg {
    /// A reward is the mean of the scores of all valid samples
    Mean,
    /// The same, of the --k-meta samples that the Meta RM ranks highest
    Top,
    /// A reward is the share of the samples whose own best it is, 0 to 1
    Majority,
    /// The mean weighted by the probability, after the Meta RM, that a sample is right
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
            number.trim().parse::<f64>().map_err(|_| format!("{known}; {number:?} is no number"))
        };
        match rule.unwrap_or(text).trim() {
            "never" => Ok(Self(StopRule::Never)),
            "lossless" => Ok(Self(StopRule::Lossless)),
            "confidence" => Ok(Self(StopRule::Confidence(number()?))),
            "width" => Ok(Self(StopRule::Width(number()?))),
            other => Err(format!("{known}; {other:?} is none of them")),
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
