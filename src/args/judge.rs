//! Who judges: a cluster at an endpoint, or a model in this process.

use std::path::PathBuf;

use super::{CacheArgs, ClientTlsArgs};

/// Who judges.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Who judges")]
pub struct JudgeArgs {
    /// The coordinator to ask, at http://, or https:// over TLS. Without it, a coordinator and a worker run inside this process
    #[arg(long, env = "JURY_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<String>,
    /// A model of the catalogue (`jury models list`), a GGUF file, a folder of safetensors, or
    /// hub:OWNER/REPO/FILE; with --endpoint, the name of a model of the fleet [default: qwen2.5-coder-1.5b]
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// Threads of the embedded worker [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// A prompt template that takes the place of the built-in one; embedded only
    #[arg(long, env = "JURY_TEMPLATE", value_name = "FILE", help_heading = "Who judges")]
    pub template: Option<PathBuf>,
    #[command(flatten)]
    pub tls: ClientTlsArgs,
}
