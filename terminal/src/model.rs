//! The model that a command was asked for: its options, where its file is, and how it is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jury_engine::head::HeadError;
use jury_engine::{Adapter, CardWeights, DeviceKind, LoadError};
pub use jury_worker::backend::engine::AdapterConfig;
use jury_worker::backend::engine::{EngineBackend, EngineBackendConfig};
use jury_worker::backend::meta::{MetaBackend, MetaError, StateReader};
use jury_worker::models::{ModelError, ModelRef, ModelStore};

use crate::Refused;
use crate::exit::{Exit, Failed};
use crate::meter::Meter;
use crate::number::threads;

/// The model that runs when none is named: the smallest of the catalogue whose critiques make
/// sense to a reader.
pub const DEFAULT_MODEL: &str = "qwen2.5-coder-1.5b";

/// Which model, and how it runs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// A model of the catalogue (`jury models list`), a GGUF file, a folder of
    /// safetensors as Hugging Face publishes it, or hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub model: String,
    /// An adapter (LoRA) over the model: a GGUF adapter, or a folder as PEFT writes it. Requests ask for
    /// it by its name [default: the file's or folder's], and for the model itself by the model's. Once for each: all share
    /// one engine, and their samples are drawn together
    #[arg(long = "adapter", env = "JURY_ADAPTERS", value_name = "[NAME=]PATH", value_delimiter = ',', value_parser = adapter)]
    pub adapters: Vec<AdapterConfig>,
    /// Threads of the engine [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub threads: Option<usize>,
    /// Where to compute: auto (the first NVIDIA card that can run the model, else the CPU), cpu, cuda:N, or metal:N where
    /// jury was built with it
    #[arg(long, env = "JURY_DEVICE", value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: DeviceKind,
    /// How a card is used.
    #[command(flatten)]
    pub card: CardArgs,
    /// Where its file is kept.
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// How a card is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, clap::Args)]
pub struct CardArgs {
    /// How weights are kept on an NVIDIA card: bf16, or int8, which takes half the memory and, where few samples decode, about half the time
    /// of a step. On the CPU they stay as the file has them [default: bf16]
    #[arg(long, env = "JURY_CARD_WEIGHTS", value_name = "TYPE", value_parser = card_weights)]
    pub card_weights: Option<CardWeights>,
}

/// Where model files are kept.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct CacheArgs {
    /// The folder of model files [default: jury/models in the user's cache folder]
    #[arg(long, env = "JURY_MODEL_CACHE", value_name = "FOLDER")]
    pub model_cache: Option<PathBuf>,
}

/// Which model, from where, and how it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// As it was asked for.
    pub name: String,
    /// Adapters over it; their names differ.
    pub adapters: Vec<AdapterConfig>,
    /// Threads of the engine; `None`: what this machine lets us use.
    pub threads: Option<usize>,
    /// Where to compute.
    pub device: DeviceKind,
    /// How weights are kept on a card.
    pub card_weights: CardWeights,
    /// Whether few samples draft their next tokens.
    pub drafts: bool,
    /// The folder of model files; needed only for what is fetched.
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

/// Requests ask for adapters by name.
fn refuse_equal_names(adapters: &[AdapterConfig]) -> Result<(), Refused> {
    let mut names = std::collections::HashSet::new();
    match adapters.iter().find(|adapter| !names.insert(&adapter.name)) {
        None => Ok(()),
        Some(twice) => {
            let name = &twice.name;
            let problem = format!("two are called {name:?}; name them apart: --adapter NAME=PATH");
            Err(Refused::new("--adapter", problem))
        }
    }
}

/// Before anything is loaded: a device that this program was built without, or that computes no adapters.
fn refuse_device(device: DeviceKind, has_adapters: bool) -> Result<(), Refused> {
    let problem = match device {
        DeviceKind::Metal(_) if !cfg!(feature = "metal") => {
            "this jury was built without metal; build it with `cargo install --locked --path . --features metal`"
                .to_owned()
        }
        DeviceKind::Cuda(_) | DeviceKind::Metal(_) if has_adapters => format!(
            "adapters run on the CPU alone, not on {device}; merge the adapter into the weights (jury train merge), or take \
             --device cpu"
        ),
        _ => return Ok(()),
    };
    Err(Refused::new("--device", problem))
}

/// Before a model is fetched for it: a card that is not here.
fn find_card(device: DeviceKind) -> Result<(), Failed> {
    let DeviceKind::Cuda(ordinal) = device else { return Ok(()) };
    let why = match jury_engine::cuda::cards() {
        Ok(cards) if ordinal < cards.len() => return Ok(()),
        Ok(cards) => format!("there is no card {ordinal}, {} found", cards.len()),
        Err(why) => why.to_string(),
    };
    let problem = format!(
        "{device}: {why}; `jury doctor` tells what is here, --device auto takes it, cpu needs no card"
    );
    Err(Failed::new(Exit::Unavailable, Refused::new("--device", problem)))
}

/// Before a model is fetched and loaded for them: adapters that cannot be read.
fn read_adapters(adapters: &[AdapterConfig]) -> Result<(), Failed> {
    let read = |adapter: &AdapterConfig| Adapter::read(&adapter.path).map(drop);
    adapters.iter().try_for_each(read).map_err(|error| {
        let failed = load_failed(error);
        Failed { error: failed.error.context("--adapter"), ..failed }
    })
}

/// Where a model with these adapters is to compute: they run on the CPU alone.
fn device_for(device: DeviceKind, adapters: &[AdapterConfig]) -> DeviceKind {
    match device {
        DeviceKind::Auto if !adapters.is_empty() => DeviceKind::Cpu,
        device => device,
    }
}

/// The models of this machine.
pub fn store(folder: Option<PathBuf>) -> ModelStore {
    folder.map_or_else(ModelStore::without_folder, ModelStore::new)
}

/// The folder of model files: the one named, else the user's own.
pub fn cache_folder(cache: &CacheArgs) -> Result<PathBuf, Refused> {
    cache
        .folder()
        .ok_or_else(|| Refused::new("--model-cache", "this user has no home; name a folder"))
}

// === impl CardArgs ===

impl CardArgs {
    /// Refuses what would be done nowhere.
    ///
    /// # Errors
    /// Weights of a card's own kind where none computes.
    pub fn refuse_without_a_card(&self, device: DeviceKind) -> Result<(), Refused> {
        match (device, self.card_weights) {
            (DeviceKind::Cpu | DeviceKind::Metal(_), Some(CardWeights::Int8)) => {
                let problem = format!(
                    "8 bits are for NVIDIA cards, and --device is {device}, which keeps weights as the file has them: leave \
                     it out"
                );
                Err(Refused::new("--card-weights", problem))
            }
            _ => Ok(()),
        }
    }
}

// === impl CacheArgs ===

impl CacheArgs {
    /// The folder of model files: the one named, else the user's own; `None` for a user without a home.
    pub fn folder(&self) -> Option<PathBuf> {
        self.model_cache.clone().or_else(ModelStore::default_directory)
    }
}

/// Where `scripts/llama-cpp` and `scripts/etcd` install programs: in the user's own cache folder, wherever model files
/// are kept.
pub fn tools_folder() -> Option<PathBuf> {
    ModelStore::default_directory()?.parent().map(|folder| folder.join("tools"))
}

/// Reads `NAME=PATH`, or a path alone, whose file's or folder's name it gets.
///
/// # Errors
/// What is missing.
pub fn adapter(text: &str) -> Result<AdapterConfig, String> {
    let (name, path) = match text.split_once('=') {
        // A path may have the sign in it, a name has no slash.
        Some((name, path)) if !name.contains('/') => (name.to_owned(), path),
        _ => (adapter_name(Path::new(text)), text),
    };
    if name.is_empty() || path.is_empty() {
        return Err("must be NAME=PATH, or the path of a GGUF adapter or a PEFT folder".to_owned());
    }
    Ok(AdapterConfig { name, path: adapter_at(Path::new(path)) })
}

/// Where the adapter is that `path` names: there, or inside, when that is the folder of `jury train rft` or `rl`.
pub fn adapter_at(path: &Path) -> PathBuf {
    let inside = path.join("adapter");
    let is_a_model = path.join("config.json").is_file();
    let is_inside = !is_a_model && !Adapter::is_at(path) && Adapter::is_at(&inside);
    if is_inside { inside } else { path.to_owned() }
}

/// Reads how weights are kept on a card.
fn card_weights(text: &str) -> Result<CardWeights, String> {
    match text {
        "bf16" => Ok(CardWeights::Bfloat16),
        "int8" => Ok(CardWeights::Int8),
        _ => Err("must be bf16 or int8".to_owned()),
    }
}

/// Reads a device: its name, and for a GPU its ordinal (0 when left out).
///
/// # Errors
/// Which there are.
pub fn device(text: &str) -> Result<DeviceKind, String> {
    let (name, ordinal) = text.split_once(':').map_or((text, None), |(name, n)| (name, Some(n)));
    let unknown = || "must be auto, cpu, cuda:N or metal:N".to_owned();
    let number = ordinal.unwrap_or("0").parse().map_err(|_| unknown())?;
    match (name, ordinal) {
        ("auto", None) => Ok(DeviceKind::Auto),
        ("cpu", None) => Ok(DeviceKind::Cpu),
        ("cuda", _) => Ok(DeviceKind::Cuda(number)),
        ("metal", _) => Ok(DeviceKind::Metal(number)),
        _ => Err(unknown()),
    }
}

/// Gives a model's error its exit code.
pub fn model_failed(error: ModelError) -> Failed {
    let exit = match error {
        ModelError::NotLoadable(error) => return load_failed(error),
        ModelError::Unknown { .. } => {
            let help = "`jury models list` tells what each is good for";
            return Failed::new(Exit::Usage, anyhow::anyhow!("{error}; {help}"));
        }
        ModelError::MalformedHubReference { .. } | ModelError::NoFolder => Exit::Usage,
        ModelError::NoSuchFile { .. } => Exit::NoInput,
        ModelError::WrongDigest { .. } => Exit::BadData,
        ModelError::Unavailable { .. } | ModelError::Hub { .. } => Exit::Unavailable,
        _ => Exit::CannotWrite,
    };
    Failed::new(exit, error)
}

/// Gives the error of a model that does not load its exit code.
pub fn load_failed(error: LoadError) -> Failed {
    let exit = match &error {
        LoadError::Io { .. } => Exit::NoInput,
        LoadError::Device(_) => Exit::Unavailable,
        _ => Exit::BadData,
    };
    Failed::new(exit, error)
}

/// Gives the error of a model that cannot rank its exit code.
fn meta_failed(error: MetaError) -> Failed {
    let exit = match error {
        MetaError::Load(error) => return load_failed(error),
        MetaError::Head { source: HeadError::Io { .. }, .. } => Exit::NoInput,
        MetaError::Head { .. } => Exit::BadData,
        _ => Exit::Usage,
    };
    Failed::new(exit, error)
}

// === impl ModelConfig ===

impl ModelConfig {
    /// Finds, fetches if need be, and loads the model. Blocks: the caller has nothing else to do.
    pub fn load(&self, meter: &Meter) -> Result<Arc<EngineBackend>, Failed> {
        self.load_as(meter, |config| EngineBackend::load(config).map(Arc::new).map_err(load_failed))
    }

    /// The same for a model that ranks trajectories: a scalar reward model, or any with a head's file.
    pub fn load_meta(
        &self,
        meter: &Meter,
        head: Option<&Path>,
    ) -> Result<Arc<MetaBackend>, Failed> {
        self.load_as(meter, |config| {
            MetaBackend::load(config, head).map(Arc::new).map_err(meta_failed)
        })
    }

    /// The same for a model whose states are read, for a head to learn from.
    ///
    /// # Errors
    /// A model that is not there, or does not load.
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
                let problem =
                    format!("{name:?} is the model's own name; name it apart: --adapter NAME=PATH");
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

// === private ===

fn adapter_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_on_a_card_are_of_two_kinds() {
        assert_eq!(card_weights("int8"), Ok(CardWeights::Int8));
        assert_eq!(card_weights("bf16"), Ok(CardWeights::Bfloat16));
        assert!(card_weights("q4").unwrap_err().contains("bf16 or int8"));
    }

    #[test]
    fn weights_of_8_bits_are_refused_where_no_card_computes() {
        let eight = CardArgs { card_weights: Some(CardWeights::Int8) };
        let refused = eight.refuse_without_a_card(DeviceKind::Cpu).unwrap_err();
        assert!(refused.to_string().starts_with("--card-weights: 8 bits are for"), "{refused}");
        assert!(CardArgs::default().refuse_without_a_card(DeviceKind::Cpu).is_ok());
        for device in [DeviceKind::Auto, DeviceKind::Cuda(1)] {
            assert!(eight.refuse_without_a_card(device).is_ok());
        }
    }

    #[test]
    fn a_device_is_read_as_it_is_written() {
        for (text, kind) in [
            ("auto", DeviceKind::Auto),
            ("cpu", DeviceKind::Cpu),
            ("cuda:3", DeviceKind::Cuda(3)),
            ("metal:0", DeviceKind::Metal(0)),
        ] {
            assert_eq!(device(text), Ok(kind));
            assert_eq!(kind.to_string(), text);
        }
        assert_eq!(device("cuda"), Ok(DeviceKind::Cuda(0)));
        for wrong in ["", "gpu", "cpu:1", "auto:0", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(device(wrong).unwrap_err().contains("auto, cpu, cuda:N"), "{wrong}");
        }
    }

    #[test]
    fn an_adapter_is_found_inside_the_folder_of_the_run_that_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("rft");
        let inside = run.join("adapter");
        std::fs::create_dir_all(&inside).unwrap();
        let named = |path: &Path| adapter(path.to_str().unwrap()).unwrap();
        assert_eq!(named(&run).path, run, "nothing is inside yet");
        std::fs::write(inside.join("adapter_config.json"), "{}").unwrap();
        assert_eq!(adapter_at(&inside), inside);
        assert_eq!(named(&run), AdapterConfig { name: "rft".to_owned(), path: inside.clone() });
        std::fs::write(run.join("config.json"), "{}").unwrap();
        assert_eq!(adapter_at(&run), run, "a model's folder is a model's");
    }

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
