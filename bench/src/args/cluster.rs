//! `jury bench cluster`, and the processes of its simulated workers.

use std::path::PathBuf;

use jury_grm::domain::limits;
use jury_terminal::number::{real, share, whole};

use super::{LARGEST, MOST_ROUNDS};

const EXAMPLES: &str = "\
Examples:
  # half a minute: see that it works
  jury bench cluster --quick
  jury bench cluster --quick --json | jq .cpu_us_per_sample
  jury bench cluster --workers 1,64 --failures 0.01 --jitter 0.5";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchClusterArgs {
    /// Numbers of GPU-like workers whose efficiency is measured, 1 to 256 [default: 1,4,16,64,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=256usize, "--workers 1,64"))]
    pub workers: Vec<usize>,
    /// Numbers of samples of a request, 1 to 256 [default: 1,8,32,128,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_K as usize, "--k 1,8,32"))]
    pub k: Vec<usize>,
    /// Numbers of requests under way at once, 1 to 1024 [default: 1,16,64,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=1024usize, "--in-flight 1,64"))]
    pub in_flight: Vec<usize>,
    /// Seconds that count of each measurement [default: 5]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
        value_parser = real(|s| (0.1..=600.0).contains(&s), "from 0.1 to 600", "--seconds 5"))]
    pub seconds: Option<f64>,
    /// Rounds, 1 to 1000, each over all measurements [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 3"))]
    pub rounds: Option<usize>,
    /// Responses of an item, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_RESPONSES, "--responses 2"))]
    pub responses: usize,
    /// Bytes of a response
    #[arg(long, value_name = "BYTES", default_value_t = 800, allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--response-bytes 800"))]
    pub response_bytes: usize,
    /// Samples that a GPU-like worker decodes at once
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true,
        value_parser = whole(1..=4096u32, "--capacity 32"))]
    pub capacity: u32,
    /// Prompt tokens a second that a GPU-like worker prefills
    #[arg(long, value_name = "RATE", default_value_t = 20_000.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--prefill-rate 20000"))]
    pub prefill_rate: f64,
    /// Tokens a second that each sample of a GPU-like worker generates
    #[arg(long, value_name = "RATE", default_value_t = 100.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--decode-rate 100"))]
    pub decode_rate: f64,
    /// Tokens of a sample, in the mean [default: 300]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--tokens 300"))]
    pub tokens: Option<u32>,
    /// Share by which lengths vary to both sides on GPU-like workers, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, allow_negative_numbers = true,
        value_parser = share("--jitter 0.2"))]
    pub jitter: f64,
    /// Share of samples that GPU-like workers fail, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true,
        value_parser = share("--failures 0.01"))]
    pub failures: f64,
    /// Processes over which the simulated workers are spread, 0 to 64; 0: they run in this one, beside the load
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
        value_parser = whole(0..=64usize, "--processes 4"))]
    pub processes: usize,
    /// Seed of lengths and failures
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// See that it works, within a minute. The same as --workers 1,8,64 --k 1,32,256 --in-flight 1,256
    /// --seconds 1 --tokens 100 --rounds 1 where these are not given
    #[arg(long)]
    pub quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// The simulated workers of one process of `jury bench cluster --processes`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  jury bench cluster --quick --processes 4")]
pub struct BenchNodesArgs {
    /// Number of the first
    #[arg(long, value_name = "N")]
    pub first: usize,
    /// How many
    #[arg(long, value_name = "N")]
    pub count: usize,
    /// Seed of lengths and failures
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// How fast they are, as JSON
    #[arg(long, value_name = "JSON")]
    pub pace: String,
}
