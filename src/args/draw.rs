//! How samples are drawn where many items are: to measure a judge, or to learn from it.

use std::time::Duration;

use jury_terminal::number::{critique_tokens, time};

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Sampling")]
pub struct DrawArgs {
    /// Softmax temperature, 0 to 2 [default: 0.5]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Longest critique, 1 to 16384 tokens [default: 512]
    #[arg(long, value_name = "N", value_parser = critique_tokens)]
    pub max_critique_tokens: Option<u32>,
    /// A guided sample fails when its model gave less than this probability to the legal scores, 0 to 1 [default: 0.01]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub min_readout_mass: Option<f64>,
    /// Time for one item, like 90s or 5m [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub budget: Option<Duration>,
    /// Items judged at once [default: as many as the fleet draws]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
}
