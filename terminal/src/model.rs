//! The model of a command, and how it is loaded.
//!
//! ```text
//! args     the options that select it         failed   exit codes if it does not load
//! folders  where its file is stored
//! ```

mod args;
mod failed;
mod folders;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jury_engine::{Adapter, CardWeights, DeviceKind};
pub use jury_worker::backend::engine::AdapterConfig;
use jury_worker::backend::engine::{EngineBackend, EngineBackendConfig};
use jury_worker::backend::meta::{MetaBackend, StateReader};
use jury_worker::models::ModelRef;

use crate::Refused;
use crate::exit::{Exit, Failed};
use crate::meter::Meter;

pub use self::args::{CacheArgs, CardArgs, ModelArgs, adapter, adapter_at, device};
use self::failed::meta_failed;
pub use self::failed::{load_failed, model_failed};
pub use self::folders::{cache_folder, store, tools_folder};

/// The default model: the smallest of the catalogue whose critiques make sense to a reader.
pub const DEFAULT_MODEL: &str = "qwen2.5-coder-1.5b";

/// Which model, from where, and how it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// As given to --model.
    pub name: String,
    /// Its adapters, with unique names.
    pub adapters: Vec<AdapterConfig>,
    /// Threads of the engine; `None`: all CPUs available to this process.
    pub threads: Option<usize>,
    /// Where to compute.
    pub device: DeviceKind,
    /// Data type of weights on a GPU.
    pub card_weights: CardWeights,
    /// Whether the engine drafts next tokens while few samples decode.
    pub drafts: bool,
    /// The folder of model files; needed only for downloads.
    pub cache: Option<PathBuf>,
}

impl TryFrom<ModelArgs> for ModelConfig {
    type Error = Refused;

    fn try_from(args: ModelArgs) -> Result<Self, Refused> {
        refuse_device(args.device, !args.adapters.is_empty())?;
        args.card.refuse_without_a_card(args.device)?;
        refuse_equal_names(&args.adapters)?;
        let cache = args.cache.folder();
        let ModelArgs { model: name, adapters, threads, device, card, .. } = args;
        let card_weights = card.card_weights.unwrap_or_default();
        Ok(Self { name, adapters, threads, device, card_weights, drafts: true, cache })
    }
}

/// Rejects adapters with equal names, since requests select them by name.
fn refuse_equal_names(adapters: &[AdapterConfig]) -> Result<(), Refused> {
    let mut names = std::collections::HashSet::new();
    match adapters.iter().find(|adapter| !names.insert(&adapter.name)) {
        None => Ok(()),
        Some(twice) => {
            let name = &twice.name;
            let problem = format!(
                "two adapters are called {name:?}; give them different names: --adapter NAME=PATH"
            );
            Err(Refused::new("--adapter", problem))
        }
    }
}

/// Rejects, before anything is loaded, a device that this program was built without or that does not support adapters.
fn refuse_device(device: DeviceKind, has_adapters: bool) -> Result<(), Refused> {
    let problem = match device {
        DeviceKind::Metal(_) if !cfg!(feature = "metal") => {
            "this jury was built without Metal; build it with `cargo install --locked --path . --features metal`"
                .to_owned()
        }
        DeviceKind::Cuda(_) | DeviceKind::Metal(_) if has_adapters => format!(
            "adapters run only on the CPU, not on {device}; merge the adapter into the weights (jury train merge), or use \
             --device cpu"
        ),
        _ => return Ok(()),
    };
    Err(Refused::new("--device", problem))
}

/// Rejects, before a model is fetched for it, a GPU that does not exist.
fn find_card(device: DeviceKind) -> Result<(), Failed> {
    let DeviceKind::Cuda(ordinal) = device else { return Ok(()) };
    let why = match jury_engine::cuda::cards() {
        Ok(cards) if ordinal < cards.len() => return Ok(()),
        Ok(cards) => format!("GPU {ordinal} does not exist, {} found", cards.len()),
        Err(why) => why.to_string(),
    };
    let problem = format!(
        "{device}: {why}; `jury doctor` lists the GPUs of this machine; --device auto uses one if there is one, cpu needs none"
    );
    Err(Failed::new(Exit::Unavailable, Refused::new("--device", problem)))
}

/// Rejects adapters that cannot be read, before a model is fetched and loaded for them.
fn read_adapters(adapters: &[AdapterConfig]) -> Result<(), Failed> {
    let read = |adapter: &AdapterConfig| Adapter::read(&adapter.path).map(drop);
    adapters.iter().try_for_each(read).map_err(|error| {
        let failed = load_failed(error);
        Failed { error: failed.error.context("--adapter"), ..failed }
    })
}

/// The device for a model with these adapters, which run only on the CPU.
fn device_for(device: DeviceKind, adapters: &[AdapterConfig]) -> DeviceKind {
    match device {
        DeviceKind::Auto if !adapters.is_empty() => DeviceKind::Cpu,
        device => device,
    }
}

// === impl ModelConfig ===

impl ModelConfig {
    /// Finds the model, downloads it if necessary, and loads it. Blocks.
    ///
    /// # Errors
    /// A GPU, an adapter or a model that does not exist or does not load.
    pub fn load(&self, meter: &Meter) -> Result<Arc<EngineBackend>, Failed> {
        self.load_as(meter, |config| EngineBackend::load(config).map(Arc::new).map_err(load_failed))
    }

    /// The same for a model that ranks trajectories: a scalar reward model, or any with a head's file.
    ///
    /// # Errors
    /// The same, and a head that does not exist or was trained on another model.
    pub fn load_meta(
        &self,
        meter: &Meter,
        head: Option<&Path>,
    ) -> Result<Arc<MetaBackend>, Failed> {
        self.load_as(meter, |config| {
            MetaBackend::load(config, head).map(Arc::new).map_err(meta_failed)
        })
    }

    /// The same for a model whose hidden states a head is trained on.
    ///
    /// # Errors
    /// A model that does not exist or does not load.
    pub fn load_reader(&self, meter: &Meter) -> Result<StateReader, Failed> {
        self.load_as(meter, |config| StateReader::load(config).map_err(load_failed))
    }

    fn load_as<B>(
        &self,
        meter: &Meter,
        load: impl FnOnce(EngineBackendConfig) -> Result<B, Failed>,
    ) -> Result<B, Failed> {
        find_card(self.device)?;
        read_adapters(&self.adapters)?;
        let reference = ModelRef::parse(&self.name).map_err(model_failed)?;
        let store = store(self.cache.clone());
        let blocking = || {
            let model = store.resolve(&reference, meter).map_err(model_failed)?;
            meter.stage(&format!("loading {}", model.name));
            let mut config = EngineBackendConfig::new(model);
            if let Some(same) = self.adapters.iter().find(|adapter| adapter.name == config.name) {
                let name = &same.name;
                let problem = format!(
                    "{name:?} is the name of the model itself; give the adapter another: --adapter NAME=PATH"
                );
                return Err(Failed::new(Exit::Usage, Refused::new("--adapter", problem)));
            }
            config.adapters.clone_from(&self.adapters);
            config.engine.threads = self.threads;
            config.engine.device = device_for(self.device, &self.adapters);
            config.engine.card_weights = self.card_weights;
            config.engine.drafts = self.drafts;
            load(config)
        };
        tokio::task::block_in_place(blocking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_is_none_is_told_before_its_model_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let adapters = [adapter(folder.path().to_str().unwrap()).unwrap()];
        let failed = read_adapters(&adapters).unwrap_err();
        assert_eq!(failed.exit, Exit::NoInput);
        assert!(failed.message().starts_with("--adapter: cannot read"), "{}", failed.message());
    }

    #[test]
    fn adapters_are_computed_where_they_can_be() {
        let adapters = [adapter("a=b.gguf").unwrap()];
        assert_eq!(device_for(DeviceKind::Auto, &adapters), DeviceKind::Cpu);
        assert_eq!(device_for(DeviceKind::Auto, &[]), DeviceKind::Auto);
        let refused = refuse_device(DeviceKind::Cuda(0), true).unwrap_err();
        assert!(refused.problem.contains("jury train merge"), "{refused}");
        assert!(refuse_device(DeviceKind::Cuda(0), false).is_ok());
    }
}
