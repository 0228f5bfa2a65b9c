//! How to load an engine, and what a backend over it reports about itself.

use std::path::PathBuf;

use jury_engine::{Engine, EngineConfig};
use jury_grm::domain::{Reproducible, limits};
use jury_proto::convert::{Capabilities, WorkerRole};

use crate::backend::BackendInfo;
use crate::models::ResolvedModel;

/// How to load an engine and how much work to queue.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineBackendConfig {
    /// The model.
    pub path: PathBuf,
    /// Its name, as used in requests.
    pub name: String,
    /// SHA-256 of its file, hex.
    pub digest: String,
    /// Adapters over it, each served as a separate model.
    pub adapters: Vec<AdapterConfig>,
    /// Device, threads, sequences and memory.
    pub engine: EngineConfig,
    /// Samples that may wait for a slot in the batch; a group that would exceed this is answered `Busy`. A group that
    /// finds the engine idle is always accepted.
    pub max_queued_samples: usize,
}

/// An adapter to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterConfig {
    /// The adapter's name, as used in requests.
    pub name: String,
    /// A GGUF file, or a folder in PEFT's format.
    pub path: PathBuf,
}

// === impl EngineBackendConfig ===

impl EngineBackendConfig {
    /// The defaults for a model: all of this machine's CPUs, and two of the largest requests may wait.
    pub fn new(model: ResolvedModel) -> Self {
        Self {
            path: model.path,
            name: model.name,
            digest: model.digest,
            adapters: Vec::new(),
            engine: EngineConfig::default(),
            max_queued_samples: 2 * limits::MAX_K as usize,
        }
    }

    /// What every backend over `engine` reports about itself.
    pub(in crate::backend) fn info(
        &self,
        engine: &Engine,
        role: WorkerRole,
        model_digest: String,
        capabilities: Capabilities,
    ) -> BackendInfo {
        BackendInfo {
            role,
            model: self.name.clone(),
            model_digest,
            method_version: jury_grm::method_version(),
            numerics: engine.numerics().to_owned(),
            context_tokens: u32::try_from(engine.context()).unwrap_or(u32::MAX),
            reproducible: match engine.is_bitwise() {
                true => Reproducible::Bitwise,
                false => Reproducible::None,
            },
            capacity: u32::try_from(engine.max_sequences()).unwrap_or(u32::MAX),
            capabilities,
            room_tokens: u32::try_from(engine.room_tokens()).ok(),
            state_width: Some(engine.model().embedding_length),
            adapters: Vec::new(),
        }
    }
}
