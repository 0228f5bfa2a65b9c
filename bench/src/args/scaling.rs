//! `jury bench scaling`.

use std::path::PathBuf;

use super::MeasuringArgs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  jury bench scaling --quick --svg scaling.svg")]
pub struct BenchScalingArgs {
    /// A model of the catalogue (`jury models list`), a GGUF file, or hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Write the plot to this file as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Only check that it works, within a minute; the figures mean little. Sweeps 1, 2 and 4 samples, prompts of 32, 64
    /// and 128 tokens, and 1, 2 and 4 requests, instead of up to 64, 4096 and 32; generates 4 tokens instead of 64;
    /// uses k 2 instead of 8 (in the sweep over requests, 1 instead of 2) and prompts of 64 tokens instead of 512 where
    /// they are not swept. Each point is one measurement in both cases
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}
