//! How samples are drawn for many items: to evaluate a judge or to train one.

use std::time::Duration;

use jury_terminal::number::{critique_tokens, time};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Sampling")]
pub struct DrawArgs {
    /// Softmax temperature, 0 (greedy) to 2 [default: 0.5]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Most tokens of a critique, 1 to 16384 [default: 512]
    #[arg(long, value_name = "N", value_parser = critique_tokens)]
    pub max_critique_tokens: Option<u32>,
    /// A guided sample fails if the model gives the legal scores less than this probability, 0 to 1 [default: 0.01]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub min_readout_mass: Option<f64>,
    /// Time budget of each item, like 90s or 5m, 1ms to 24h [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub budget: Option<Duration>,
    /// Items judged at once, 1 to 1024 [default: with --endpoint as many as the fleet can handle without items using up
    /// their budgets in a queue, at most 256; else at most 2]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
}
