//! `jury bench engine`.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_terminal::model::CardArgs;
use jury_terminal::number::whole;

use super::{LARGEST, MOST_ROUNDS, MeasuringArgs};

const EXAMPLES: &str = "\
Examples:
  # a check within a minute
  jury bench engine --quick
  # everything; takes hours
  jury bench engine --markdown results.md
  jury bench engine --models smollm2-135m --k 8 --prompt 512 --generated 64";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchEngineArgs {
    /// Models, comma-separated: models of the catalogue, GGUF files, hub:OWNER/REPO/FILE, or files made by
    /// scripts/llama-cpp [default: smollm2-135m-q8_0,smollm2-135m-q4_0,qwen2.5-coder-0.5b,qwen2.5-coder-1.5b]
    #[arg(long, value_name = "MODELS", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Numbers of samples per prompt, comma-separated [default: 1,8,32]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--k 1,8,32"))]
    pub k: Vec<usize>,
    /// Prompt lengths in tokens, comma-separated [default: 512,1500]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--prompt 512,1500"))]
    pub prompt: Vec<usize>,
    /// Numbers of tokens that each sample generates, comma-separated, at least 2 (the first one comes out of the
    /// prompt) [default: 64,250]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(2..=LARGEST, "--generated 64,250"))]
    pub generated: Vec<usize>,
    /// Prompts at once, 1 to 256, each with its --k samples, all decoding together; with more than one, only Jury's
    /// engine is measured
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
        value_parser = whole(1..=256usize, "--groups 8"))]
    pub groups: usize,
    /// Whether attention on a GPU reads a prompt once for all its samples or once per sample, to measure the gain
    #[arg(long, value_enum, default_value_t = SharingArg::On)]
    pub sharing: SharingArg,
    /// How a GPU is used.
    #[command(flatten)]
    pub card: CardArgs,
    /// Rounds, 1 to 1000, each with Jury's engine and with the peer [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 4"))]
    pub rounds: Option<usize>,
    /// llama.cpp's llama-batched-bench as the peer, run with the same number of threads; when the engine uses a GPU, it
    /// is measured only if this option is given [default: the one installed by scripts/llama-cpp, else the one in PATH]
    #[arg(long, env = "JURY_LLAMA_BATCHED_BENCH", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure only Jury's engine
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Also write the table to this file as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Only check that it works, within a minute; the figures mean little. Same as --models smollm2-135m --k 1,4
    /// --prompt 128 --generated 8 --rounds 1 unless these are given
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

/// Whether the samples of a prompt share its keys and values when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SharingArg {
    /// Once for all samples, as in all other commands
    On,
    /// Once per sample
    Off,
    /// Both, one after the other
    Both,
}
