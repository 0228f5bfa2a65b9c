//! `jury bench scaling`.

use std::path::PathBuf;

use super::MeasuringArgs;

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  jury bench scaling --quick --svg scaling.svg")]
pub struct BenchScalingArgs {
    /// A model of the catalogue (`jury models list`), a GGUF file, or hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Write the plot here
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// See that it works, within a minute; the figures mean little. 1, 2 and 4 samples, prompts of
    /// 32, 64 and 128 tokens and 1, 2 and 4 requests instead of up to 64, 4096 and 32; 4 tokens
    /// generated instead of 64, else k 2 instead of 8 (of requests 1 instead of 2) and prompts of 64
    /// instead of 512. A point is one measurement either way
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}
