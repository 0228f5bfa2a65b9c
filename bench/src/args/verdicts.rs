//! `jury bench verdicts`.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_grm::domain::limits;
use jury_terminal::number::{real, whole};

use super::{LARGEST, MOST_ROUNDS, MeasuringArgs};

/// llama-server has k slots for each item that is judged at once.
const MOST_AT_ONCE: usize = 16;

const EXAMPLES: &str = "\
Examples:
  # see that it works
  jury bench verdicts --items examples/items.jsonl --quick
  jury bench verdicts --items examples/items.jsonl --markdown results.md
  jury bench verdicts --items examples/items.jsonl --no-peer --limit 4
  # what drafts gain
  jury bench verdicts --items examples/items.jsonl --no-peer -k 1 --drafts both";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchVerdictsArgs {
    /// A file with one item as JSON a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub items: PathBuf,
    /// A model of the catalogue (`jury models list`), a GGUF file, hub:OWNER/REPO/FILE, or a file
    /// that scripts/llama-cpp makes
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Samples of an item, 1 to 256
    #[arg(short, long, env = "JURY_K", value_name = "N", default_value_t = 8,
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "-k 8"))]
    pub k: u32,
    /// Judge only the first items of the file [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--limit 4"))]
    pub limit: Option<usize>,
    /// Items judged at once, 1 to 16, on both sides
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
        value_parser = whole(1..=MOST_AT_ONCE, "--at-once 2"))]
    pub at_once: usize,
    /// Rounds, 1 to 1000, each ours and the peer's [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 3"))]
    pub rounds: Option<usize>,
    /// Softmax temperature, 0 (greedy) to 2 [default: 0.5]
    #[arg(long, env = "JURY_TEMPERATURE", value_name = "T", allow_negative_numbers = true,
        value_parser = real(|t| (0.0..=2.0).contains(&t), "from 0 to 2", "--temperature 0.5"))]
    pub temperature: Option<f64>,
    /// Nucleus mass, above 0 and at most 1 [default: 1]
    #[arg(long, env = "JURY_TOP_P", value_name = "P", allow_negative_numbers = true,
        value_parser = real(|p| p > 0.0 && p <= 1.0, "above 0 and at most 1", "--top-p 0.9"))]
    pub top_p: Option<f64>,
    /// Most tokens of a sample, 1 to 16384 [default: 512]
    #[arg(long, visible_alias = "max-tokens", env = "JURY_MAX_CRITIQUE_TOKENS", value_name = "N",
        allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-tokens 200"))]
    pub max_critique_tokens: Option<u32>,
    /// Whether our engine drafts the next tokens of few samples; what they say stays the same
    #[arg(long, value_enum, default_value_t = DraftsArg::On)]
    pub drafts: DraftsArg,
    /// llama.cpp's llama-server, which gets as many threads; beside a GPU it is measured only where it is named
    /// [default: what scripts/llama-cpp installed, else the one in PATH]
    #[arg(long, env = "JURY_LLAMA_SERVER", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure ours alone
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// See that it works, within a minute; the figures mean little. The same as --limit 1
    /// --max-tokens 16 --rounds 1 where these are not given; -k stays as it is, and llama-server
    /// has one setting, where others would be tried
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

/// Whether few samples of ours draft their next tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DraftsArg {
    /// As everywhere else
    On,
    /// Never
    Off,
    /// Both ways in every round, in turns, with their ratio
    Both,
}
