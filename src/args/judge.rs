//! Who judges: a cluster at an endpoint, or a model in this process.

use std::path::PathBuf;

use jury_engine::DeviceKind;
use jury_terminal::model::{AdapterConfig, adapter, device};
use jury_terminal::number::threads;

use super::{CacheArgs, CardArgs, ClientTlsArgs, TokenArgs};

/// Who judges.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Who judges")]
pub struct JudgeArgs {
    /// The coordinator to ask, at http://, or https:// over TLS. Without it, a coordinator and a worker run inside this process
    #[arg(long, env = "JURY_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<String>,
    /// A model of the catalogue (`jury models list`), a GGUF file, a folder of safetensors, or
    /// hub:OWNER/REPO/FILE; with --endpoint, the name of a model of the fleet [default: qwen2.5-coder-1.5b]
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// An adapter (LoRA) over the model, which then judges: a GGUF adapter, or a folder as PEFT writes it;
    /// embedded only
    #[arg(long, env = "JURY_ADAPTER", value_name = "[NAME=]PATH", value_parser = adapter)]
    pub adapter: Option<AdapterConfig>,
    /// Threads of the embedded worker [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub threads: Option<usize>,
    /// Where the embedded worker computes: auto (the first NVIDIA card that can run the model, else the CPU), cpu, cuda:N,
    /// or metal:N where jury was built with it [default: auto]
    #[arg(long, env = "JURY_DEVICE", value_name = "DEVICE", value_parser = device)]
    pub device: Option<DeviceKind>,
    #[command(flatten)]
    pub card: CardArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// A prompt template that takes the place of the built-in one; embedded only (with --endpoint the coordinator has it, and
    /// train rft alone wants to be told it)
    #[arg(long, env = "JURY_TEMPLATE", value_name = "FILE", help_heading = "Who judges")]
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
