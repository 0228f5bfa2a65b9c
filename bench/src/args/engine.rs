//! `jury bench engine`.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_terminal::model::CardArgs;
use jury_terminal::number::whole;

use super::{LARGEST, MOST_ROUNDS, MeasuringArgs};

const EXAMPLES: &str = "\
Examples:
  # a minute: see that it works
  jury bench engine --quick
  # everything, which takes hours
  jury bench engine --markdown results.md
  jury bench engine --models smollm2-135m --k 8 --prompt 512 --generated 64";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchEngineArgs {
    /// Models, comma-separated: of the catalogue, GGUF files, hub:OWNER/REPO/FILE, or a file that
    /// scripts/llama-cpp makes [default: smollm2-135m-q8_0,smollm2-135m-q4_0,qwen2.5-coder-0.5b,
    /// qwen2.5-coder-1.5b]
    #[arg(long, value_name = "MODELS", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Numbers of samples of one prompt [default: 1,8,32]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--k 1,8,32"))]
    pub k: Vec<usize>,
    /// Lengths of the prompt, in tokens [default: 512,1500]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--prompt 512,1500"))]
    pub prompt: Vec<usize>,
    /// Tokens that each sample generates, at least 2: the first comes out of the prompt [default:
    /// 64,250]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(2..=LARGEST, "--generated 64,250"))]
    pub generated: Vec<usize>,
    /// Prompts at once, 1 to 256, each with its --k samples, all of which decode together; more than one is measured of
    /// ours alone
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
        value_parser = whole(1..=256usize, "--groups 8"))]
    pub groups: usize,
    /// Whether attention on a card reads a prompt once for all its samples, or once for each, to see what that gains
    #[arg(long, value_enum, default_value_t = SharingArg::On)]
    pub sharing: SharingArg,
    /// How a card is used.
    #[command(flatten)]
    pub card: CardArgs,
    /// Rounds, 1 to 1000, each ours and the peer's [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 4"))]
    pub rounds: Option<usize>,
    /// llama.cpp's llama-batched-bench, which gets as many threads; beside a GPU it is measured only where it is named
    /// [default: what scripts/llama-cpp installed, else the one in PATH]
    #[arg(long, env = "JURY_LLAMA_BATCHED_BENCH", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure ours alone
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// See that it works, within a minute; the figures mean little. The same as --models smollm2-135m
    /// --k 1,4 --prompt 128 --generated 8 --rounds 1 where these are not given
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

/// Whether samples of a prompt share what is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SharingArg {
    /// As everywhere else
    On,
    /// Never
    Off,
    /// Both ways, one after the other
    Both,
}
