//! `jury bench verdicts`.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_grm::domain::limits;
use jury_terminal::number::{real, whole};

use super::{LARGEST, MOST_ROUNDS, MeasuringArgs};

/// llama-server has k slots for each item judged at once.
const MOST_AT_ONCE: usize = 16;

const EXAMPLES: &str = "\
Examples:
  # only check that it works
  jury bench verdicts --items examples/items.jsonl --quick
  jury bench verdicts --items examples/items.jsonl --markdown results.md
  jury bench verdicts --items examples/items.jsonl --no-peer --limit 4
  # measure the gain of drafts
  jury bench verdicts --items examples/items.jsonl --no-peer -k 1 --drafts both";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchVerdictsArgs {
    /// File with one item as JSON per line
    #[arg(long, value_name = "FILE.jsonl")]
    pub items: PathBuf,
    /// A model of the catalogue (`jury models list`), a GGUF file, hub:OWNER/REPO/FILE, or a file made by
    /// scripts/llama-cpp
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Samples per item, 1 to 256
    #[arg(short, long, env = "JURY_K", value_name = "N", default_value_t = 8,
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "-k 8"))]
    pub k: u32,
    /// Judge only the first N items of the file, at least 1 [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--limit 4"))]
    pub limit: Option<usize>,
    /// Items judged at once, 1 to 16, by Jury's engine and by the peer
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
        value_parser = whole(1..=MOST_AT_ONCE, "--at-once 2"))]
    pub at_once: usize,
    /// Rounds, 1 to 1000, each with Jury's engine and with the peer [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 3"))]
    pub rounds: Option<usize>,
    /// Softmax temperature, 0 (greedy) to 2 [default: 0.5]
    #[arg(long, env = "JURY_TEMPERATURE", value_name = "T", allow_negative_numbers = true,
        value_parser = real(|t| (0.0..=2.0).contains(&t), "from 0 to 2", "--temperature 0.5"))]
    pub temperature: Option<f64>,
    /// Nucleus sampling: probability mass to sample from, above 0 and at most 1 [default: 1]
    #[arg(long, env = "JURY_TOP_P", value_name = "P", allow_negative_numbers = true,
        value_parser = real(|p| p > 0.0 && p <= 1.0, "above 0 and at most 1", "--top-p 0.9"))]
    pub top_p: Option<f64>,
    /// Most tokens per sample, 1 to 16384 [default: 512]
    #[arg(long, visible_alias = "max-tokens", env = "JURY_MAX_CRITIQUE_TOKENS", value_name = "N",
        allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-tokens 200"))]
    pub max_critique_tokens: Option<u32>,
    /// Whether Jury's engine drafts next tokens while few samples decode; their text is the same either way
    #[arg(long, value_enum, default_value_t = DraftsArg::On)]
    pub drafts: DraftsArg,
    /// llama.cpp's llama-server as the peer, run with the same number of threads; when the engine uses a GPU, it is
    /// measured only if this option is given [default: the one installed by scripts/llama-cpp, else the one in PATH]
    #[arg(long, env = "JURY_LLAMA_SERVER", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure only Jury's engine
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Also write the table to this file as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Only check that it works, within a minute; the figures mean little. Same as --limit 1 --max-tokens 16 --rounds 1
    /// unless these are given; -k is unchanged, and llama-server runs with one setting instead of the best of several
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

/// Whether Jury's engine drafts next tokens while few samples decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DraftsArg {
    /// Drafts, as in all other commands
    On,
    /// No drafts
    Off,
    /// Both in every round, alternately, with their ratio
    Both,
}
