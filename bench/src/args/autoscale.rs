//! `jury bench autoscale`.

use std::path::PathBuf;

use jury_terminal::number::whole;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  jury bench autoscale --start-seconds 180 --svg autoscale.svg")]
pub struct BenchAutoscaleArgs {
    /// Slots per worker: the samples that it draws at once, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 24, allow_negative_numbers = true,
        value_parser = whole(1..=4096u32, "--capacity 24"))]
    pub capacity: u32,
    /// Seconds that a sample takes, 1 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 20, allow_negative_numbers = true,
        value_parser = whole(1..=3600u32, "--sample-seconds 20"))]
    pub sample_seconds: u32,
    /// Seconds that a worker takes to start, 0 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 180, allow_negative_numbers = true,
        value_parser = whole(0..=3600u32, "--start-seconds 180"))]
    pub start_seconds: u32,
    /// Target of waiting and running samples per worker, as in the chart
    #[arg(long, value_name = "N", default_value_t = 24, allow_negative_numbers = true,
        value_parser = whole(1..=100_000u32, "--samples-per-worker 24"))]
    pub samples_per_worker: u32,
    /// Target for the longest wait of a request, in seconds, if samples take long, as in the chart
    #[arg(long, value_name = "SECONDS", default_value_t = 30, allow_negative_numbers = true,
        value_parser = whole(1..=3600u32, "--backlog-seconds 30"))]
    pub backlog_seconds: u32,
    /// Seconds for which fewer workers must be needed before some are removed, as in the chart
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true,
        value_parser = whole(0..=3600u32, "--scale-in-seconds 300"))]
    pub scale_in_seconds: u32,
    /// Most workers, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 64, allow_negative_numbers = true,
        value_parser = whole(1..=10_000u32, "--most-workers 64"))]
    pub most_workers: u32,
    /// Write the plot to this file as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
