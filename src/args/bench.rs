//! `jury bench`.

use std::path::PathBuf;

use clap::Subcommand;

use super::CacheArgs;

const VERDICTS_EXAMPLES: &str = "\
Examples:
  jury bench verdicts --items examples/items.jsonl --quick          see that it works
  jury bench verdicts --items examples/items.jsonl --markdown results.md
  jury bench verdicts --items examples/items.jsonl --no-peer --limit 4";

const ENGINE_EXAMPLES: &str = "\
Examples:
  jury bench engine --quick                               a minute: see that it works
  jury bench engine --markdown results.md                 everything, which takes hours
  jury bench engine --models qwen2.5-coder-0.5b --k 8 --prompt 512 --generated 64";

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jury bench engine --quick")]
pub struct BenchArgs {
    #[command(subcommand)]
    pub command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure the engine and llama.cpp alternately: prefill and decoding, tokens a second
    #[command(after_help = ENGINE_EXAMPLES)]
    Engine(BenchEngineArgs),
    /// Measure verdicts a minute, from items to rewards, ours and over llama-server alternately
    #[command(after_help = VERDICTS_EXAMPLES)]
    Verdicts(Box<BenchVerdictsArgs>),
    /// Measure time against samples, prompt length and requests in flight, and plot it
    #[command(after_help = "Example:\n  jury bench scaling --quick --svg scaling.svg")]
    Scaling(BenchScalingArgs),
}

/// What all measurements share.
#[derive(Debug, Clone, clap::Args)]
pub struct MeasuringArgs {
    /// Threads, ours and the peer's [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N")]
    pub threads: Option<usize>,
    /// Small sizes and one round where nothing else is said: shows that it works, measures little
    #[arg(long)]
    pub quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cache: CacheArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchEngineArgs {
    /// Models, comma-separated: of the catalogue, GGUF files, hub:OWNER/REPO/FILE, or a file that
    /// scripts/llama-cpp makes [default: smollm2-135m-q8_0,smollm2-135m-q4_0,qwen2.5-coder-0.5b,
    /// qwen2.5-coder-1.5b]
    #[arg(long, value_name = "MODELS", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Numbers of samples of one prompt [default: 1,8,32]
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub k: Vec<usize>,
    /// Lengths of the prompt, in tokens [default: 512,1500]
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub prompt: Vec<usize>,
    /// Tokens that each sample generates [default: 64,250]
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub generated: Vec<usize>,
    /// Rounds, each ours and the peer's [default: 4]
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// llama.cpp's llama-batched-bench [default: what scripts/llama-cpp installed, else the one in
    /// PATH]
    #[arg(long, env = "JURY_LLAMA_BATCHED_BENCH", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure ours alone
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchVerdictsArgs {
    /// A file with one item as JSON a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub items: PathBuf,
    /// A model of the catalogue (`jury models list`), a GGUF file, hub:OWNER/REPO/FILE, or a file
    /// that scripts/llama-cpp makes
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Samples of an item, 1 to 256
    #[arg(short, long, env = "JURY_K", value_name = "N", default_value_t = 8)]
    pub k: u32,
    /// Judge only the first items of the file
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Items judged at once, 1 to 16, on both sides
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub at_once: usize,
    /// Rounds, each ours and the peer's [default: 3]
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Softmax temperature, 0 (greedy) to 2 [default: 0.5]
    #[arg(long, env = "JURY_TEMPERATURE", value_name = "T")]
    pub temperature: Option<f64>,
    /// Nucleus mass, above 0 and at most 1 [default: 1]
    #[arg(long, env = "JURY_TOP_P", value_name = "P")]
    pub top_p: Option<f64>,
    /// Most tokens of a sample, 1 to 16384 [default: 512]
    #[arg(long, visible_alias = "max-tokens", env = "JURY_MAX_CRITIQUE_TOKENS", value_name = "N")]
    pub max_critique_tokens: Option<u32>,
    /// Let our engine draft no tokens of few samples: what they say stays the same, and takes longer
    #[arg(long)]
    pub no_drafts: bool,
    /// llama.cpp's llama-server [default: what scripts/llama-cpp installed, else the one in PATH]
    #[arg(long, env = "JURY_LLAMA_SERVER", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure ours alone
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchScalingArgs {
    /// A model of the catalogue (`jury models list`), a GGUF file, or hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Write the plot here
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}
