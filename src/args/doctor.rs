//! `jury doctor`.

use super::{CacheArgs, EtcdArgs};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jury doctor --json")]
pub struct DoctorArgs {
    /// Threads of the self-benchmark [default: all CPUs available to this process]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub etcd: EtcdArgs,
}
