//! `jury plan`.

use std::time::Duration;

use jury_grm::domain::limits;
use jury_terminal::number::{real, time, whole};

/// Most of whatever a plan counts: products stay far from what a number holds.
const MOST: u32 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  jury plan --groups 128 -k 8 --critique-tokens 500 --prompt-tokens 1500 \\
    --step 60s --places 64 --decode-rate 3200
  jury plan --groups 128 --step 60s --decode-rate 3200 --json | jq .workers";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// Queries of a training step; the responses to one are judged together
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=MOST, "--groups 128"))]
    pub groups: u32,
    /// Samples of a query, 1 to 256
    #[arg(short, long, value_name = "N", default_value_t = 8, allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_K, "-k 8"))]
    pub k: u32,
    /// Orders in which a query's responses are shown: so many prompts a query. Two responses have 2; many have as many as there
    /// are responses in a panel
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_K, "--orders 2"))]
    pub orders: u32,
    /// Tokens of a prompt: the conversation, all responses shown, and some 300 of the template
    #[arg(long, value_name = "N", default_value_t = 1_500, allow_negative_numbers = true,
        value_parser = whole(1..=MOST, "--prompt-tokens 1500"))]
    pub prompt_tokens: u32,
    /// Tokens that a sample generates; jury_worker_generated_tokens_total by samples tells it of a fleet that runs
    #[arg(long, value_name = "N", default_value_t = 500, allow_negative_numbers = true,
        value_parser = whole(1..=MOST, "--critique-tokens 500"))]
    pub critique_tokens: u32,
    /// Time that the rewards of a step may take
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub step: Duration,
    /// Samples that a worker draws at once
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true,
        value_parser = whole(1..=MOST, "--places 32"))]
    pub places: u32,
    /// Tokens a second that a worker generates with all places taken, measured on yours
    #[arg(long, value_name = "RATE", allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--decode-rate 3200"))]
    pub decode_rate: f64,
    /// Prompt tokens a second that a worker computes
    #[arg(long, value_name = "RATE", default_value_t = 20_000.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--prefill-rate 20000"))]
    pub prefill_rate: f64,
    /// Share of work beyond this to have room for: lost workers, second attempts, longer samples
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, allow_negative_numbers = true,
        value_parser = real(|s| (0.0..=10.0).contains(&s), "from 0 to 10", "--spare 0.2"))]
    pub spare: f64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}
