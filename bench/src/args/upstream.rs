//! `jury bench upstream`.

use std::path::PathBuf;

use jury_grm::domain::limits;
use jury_terminal::number::whole;

use super::MOST_ROUNDS;

const EXAMPLES: &str = "\
Examples:
  llama-server -m judge.gguf --alias judge --parallel 8 --metrics &
  jury bench upstream --url http://127.0.0.1:8080 --model judge \\
    --tokenizer judge.gguf --quick
  jury bench upstream --url http://127.0.0.1:8080 --model judge \\
    --tokenizer judge.gguf -k 8 --markdown results.md";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchUpstreamArgs {
    /// Address of the server, with or without /v1; it must serve metrics at /metrics (llama-server: --metrics)
    #[arg(long, env = "JURY_UPSTREAM_URL", value_name = "URL")]
    pub url: String,
    /// The model's name at the server
    #[arg(long, env = "JURY_MODEL", value_name = "NAME")]
    pub model: String,
    /// GGUF file or Hugging Face model folder with the tokenizer of the server's model
    #[arg(long, env = "JURY_UPSTREAM_TOKENIZER", value_name = "PATH")]
    pub tokenizer: PathBuf,
    /// Samples per prompt, 1 to 256; llama-server needs as many slots
    #[arg(short, long, env = "JURY_K", value_name = "N", default_value_t = 8,
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "-k 8"))]
    pub k: u32,
    /// Most tokens per sample, 1 to 16384 [default: 128]
    #[arg(long, visible_alias = "max-tokens", value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-tokens 128"))]
    pub max_critique_tokens: Option<u32>,
    /// Rounds, 1 to 1000, each with both ways of calling and with new prompts that the server has not seen [default: 5]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 5"))]
    pub rounds: Option<usize>,
    /// Also write the table to this file as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Only check that it works; the figures mean little. Same as --max-tokens 16 --rounds 1 unless these are given
    #[arg(long)]
    pub quick: bool,
}
