//! Who judges: a cluster at an endpoint, or a model in this process.

use std::path::PathBuf;

use jury_engine::DeviceKind;
use jury_terminal::model::{AdapterConfig, adapter, device};
use jury_terminal::number::threads;

use super::{CacheArgs, CardArgs, ClientTlsArgs, TokenArgs};

/// Who judges.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Judge")]
pub struct JudgeArgs {
    /// Address of a coordinator, http:// or https://. Without it, a coordinator and a worker run inside this process
    /// (embedded)
    #[arg(long, env = "JURY_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<String>,
    /// A model of the catalogue (`jury models list`), a GGUF file, a folder of safetensors, or hub:OWNER/REPO/FILE;
    /// with --endpoint, the name of a model that the fleet serves [default: qwen2.5-coder-1.5b; with --endpoint, the
    /// fleet's only model]
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// Adapter (LoRA) to judge with, on top of the model: a GGUF adapter or a PEFT folder; embedded only
    #[arg(long, env = "JURY_ADAPTER", value_name = "[NAME=]PATH", value_parser = adapter)]
    pub adapter: Option<AdapterConfig>,
    /// Threads of the embedded worker, 1 to 4096 [default: all CPUs available to this process]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub threads: Option<usize>,
    /// Device of the embedded worker: auto (the first NVIDIA GPU if it can run the model, else the CPU), cpu, cuda:N,
    /// or metal:N if jury was built with Metal [default: auto]
    #[arg(long, env = "JURY_DEVICE", value_name = "DEVICE", value_parser = device)]
    pub device: Option<DeviceKind>,
    #[command(flatten)]
    pub card: CardArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Prompt template to use instead of the built-in one; embedded only: with --endpoint, the coordinator uses its own
    /// (and `jury train rft` must be given the same file)
    #[arg(long, env = "JURY_TEMPLATE", value_name = "FILE", help_heading = "Judge")]
    pub template: Option<PathBuf>,
    #[command(flatten)]
    pub tls: ClientTlsArgs,
    #[command(flatten)]
    pub token: TokenArgs,
}

// === impl JudgeArgs ===

impl JudgeArgs {
    /// The model that requests name: a fleet's; embedded, the adapter's, since what runs otherwise is the only one.
    pub fn asked_model(&self) -> Option<String> {
        match &self.endpoint {
            Some(_) => self.model.clone(),
            None => self.adapter.as_ref().map(|adapter| adapter.name.clone()),
        }
    }
}
