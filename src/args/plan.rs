//! `jury plan`.

use std::time::Duration;

use jury_grm::domain::limits;
use jury_terminal::number::{real, time, whole};

/// Upper limit of every count in a plan: products cannot overflow.
const MOST: u32 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  jury plan --groups 128 -k 8 --critique-tokens 500 --prompt-tokens 1500 \\
    --step 60s --places 64 --decode-rate 3200
  jury plan --groups 128 --step 60s --decode-rate 3200 --json | jq .workers";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// Queries per training step; the responses to a query are judged together
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=MOST, "--groups 128"))]
    pub groups: u32,
    /// Samples per query, 1 to 256
    #[arg(short, long, value_name = "N", default_value_t = 8, allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_K, "-k 8"))]
    pub k: u32,
    /// Orders in which a query's responses are shown, 1 to 256: the number of prompts per query. 2 for two responses;
    /// for more, the number of responses in a panel
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_K, "--orders 2"))]
    pub orders: u32,
    /// Tokens per prompt: the conversation, all responses shown, and about 300 for the template
    #[arg(long, value_name = "N", default_value_t = 1_500, allow_negative_numbers = true,
        value_parser = whole(1..=MOST, "--prompt-tokens 1500"))]
    pub prompt_tokens: u32,
    /// Tokens that a sample generates; on a running fleet: jury_worker_generated_tokens_total /
    /// jury_worker_samples_total
    #[arg(long, value_name = "N", default_value_t = 500, allow_negative_numbers = true,
        value_parser = whole(1..=MOST, "--critique-tokens 500"))]
    pub critique_tokens: u32,
    /// Time within which a step needs its rewards, like 60s
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub step: Duration,
    /// Slots per worker: the samples that it draws at once
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true,
        value_parser = whole(1..=MOST, "--places 32"))]
    pub places: u32,
    /// Tokens per second that a worker generates with all slots busy; measure it on your hardware
    #[arg(long, value_name = "RATE", allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--decode-rate 3200"))]
    pub decode_rate: f64,
    /// Prompt tokens per second that a worker processes
    #[arg(long, value_name = "RATE", default_value_t = 20_000.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--prefill-rate 20000"))]
    pub prefill_rate: f64,
    /// Spare capacity for lost workers, second attempts and longer samples, as a share of the work, 0 to 10
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, allow_negative_numbers = true,
        value_parser = real(|s| (0.0..=10.0).contains(&s), "from 0 to 10", "--spare 0.2"))]
    pub spare: f64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}
