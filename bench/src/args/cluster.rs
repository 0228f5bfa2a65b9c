//! `jury bench cluster`, and the processes of its simulated workers.

use std::path::PathBuf;

use jury_grm::domain::limits;
use jury_terminal::number::{real, share, whole};

use super::{LARGEST, MOST_ROUNDS};

const EXAMPLES: &str = "\
Examples:
  # a check within half a minute
  jury bench cluster --quick
  jury bench cluster --quick --json | jq .cpu_us_per_sample
  jury bench cluster --workers 1,64 --failures 0.01 --jitter 0.5";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchClusterArgs {
    /// Numbers of simulated GPU workers to measure the efficiency of, comma-separated, each 1 to 256 [default:
    /// 1,4,16,64,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=256usize, "--workers 1,64"))]
    pub workers: Vec<usize>,
    /// Numbers of samples per request, comma-separated, each 1 to 256 [default: 1,8,32,128,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_K as usize, "--k 1,8,32"))]
    pub k: Vec<usize>,
    /// Numbers of requests in flight, comma-separated, each 1 to 1024 [default: 1,16,64,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=1024usize, "--in-flight 1,64"))]
    pub in_flight: Vec<usize>,
    /// Seconds that each measurement takes after its warm-up, 0.1 to 600 [default: 5]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
        value_parser = real(|s| (0.1..=600.0).contains(&s), "from 0.1 to 600", "--seconds 5"))]
    pub seconds: Option<f64>,
    /// Rounds over all measurements, 1 to 1000 [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 3"))]
    pub rounds: Option<usize>,
    /// Responses per item, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_RESPONSES, "--responses 2"))]
    pub responses: usize,
    /// Bytes per response
    #[arg(long, value_name = "BYTES", default_value_t = 800, allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--response-bytes 800"))]
    pub response_bytes: usize,
    /// Slots per simulated GPU worker: the samples that it decodes at once, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true,
        value_parser = whole(1..=4096u32, "--capacity 32"))]
    pub capacity: u32,
    /// Prompt tokens per second that a simulated GPU worker prefills
    #[arg(long, value_name = "RATE", default_value_t = 20_000.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--prefill-rate 20000"))]
    pub prefill_rate: f64,
    /// Tokens per second that each sample of a simulated GPU worker generates
    #[arg(long, value_name = "RATE", default_value_t = 100.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--decode-rate 100"))]
    pub decode_rate: f64,
    /// Mean tokens per sample, 1 to 16384 [default: 300]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--tokens 300"))]
    pub tokens: Option<u32>,
    /// Relative variation of sample lengths on simulated GPU workers, 0 to 1: 0.2 is plus or minus 20 %
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, allow_negative_numbers = true,
        value_parser = share("--jitter 0.2"))]
    pub jitter: f64,
    /// Share of samples that fail on simulated GPU workers, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true,
        value_parser = share("--failures 0.01"))]
    pub failures: f64,
    /// Processes to distribute the simulated workers over, 0 to 64; 0: they run in this process, together with the load
    /// generator
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
        value_parser = whole(0..=64usize, "--processes 4"))]
    pub processes: usize,
    /// Seed of lengths and failures
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Also write the table to this file as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Only check that it works, within a minute. Same as --workers 1,8,64 --k 1,32,256 --in-flight 1,256 --seconds 1
    /// --tokens 100 --rounds 1 unless these are given
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
    /// Number of the first worker
    #[arg(long, value_name = "N")]
    pub first: usize,
    /// Number of workers
    #[arg(long, value_name = "N")]
    pub count: usize,
    /// Seed of lengths and failures
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// Speed of the workers, as JSON
    #[arg(long, value_name = "JSON")]
    pub pace: String,
}
