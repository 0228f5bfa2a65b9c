//! What commands put together: a model that is loaded, and a whole cluster inside this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jury_coordinator::progress::Progress;
use jury_coordinator::{Config, Coordinator};
use jury_engine::{DeviceKind, LoadError};
use jury_fabric::directory::InProcess;
use jury_fabric::transport::{Channel, HealthHandle, Listener, ServerConfig, in_process};
use jury_worker::backend::Backend;
use jury_worker::backend::engine::{EngineBackend, EngineBackendConfig};
use jury_worker::metrics::WorkerMetrics;
use jury_worker::models::{ModelError, ModelRef, ModelStore};
use jury_worker::run::{Announce, SERVICE_NAME, Worker, WorkerConfig};
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::args::{CacheArgs, ModelArgs, Refused};
use crate::coordinator::template;
use crate::exit::{Exit, Failed, OrExit};
use crate::meter::Meter;

/// Id of the only worker of an embedded cluster.
const EMBEDDED_WORKER: &str = "embedded";

/// Which model, from where, and how it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// As it was asked for.
    pub name: String,
    pub threads: Option<usize>,
    pub device: DeviceKind,
    /// Whether few samples draft their next tokens.
    pub drafts: bool,
    pub cache: PathBuf,
}

/// A coordinator and one worker inside this process. Ends when dropped.
pub struct Embedded {
    coordinator: Coordinator,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl TryFrom<ModelArgs> for ModelConfig {
    type Error = Refused;

    fn try_from(args: ModelArgs) -> Result<Self, Refused> {
        if args.threads == Some(0) {
            return Err(Refused::new("--threads", "must be at least 1, is 0"));
        }
        refuse_device(args.device)?;
        let cache = cache_folder(&args.cache)?;
        let ModelArgs { model: name, threads, device, .. } = args;
        Ok(Self { name, threads, device, drafts: true, cache })
    }
}

/// Before anything is loaded: a device that this program was built without.
fn refuse_device(device: DeviceKind) -> Result<(), Refused> {
    let feature = match device {
        DeviceKind::Cuda(_) if !cfg!(feature = "cuda") => "cuda",
        DeviceKind::Metal(_) if !cfg!(feature = "metal") => "metal",
        _ => return Ok(()),
    };
    let problem = format!(
        "this jury was built without {feature}; build it with `cargo install --path . --features \
         {feature}`"
    );
    Err(Refused::new("--device", problem))
}

/// The models of this machine.
pub fn store(cache: &CacheArgs) -> Result<ModelStore, Refused> {
    cache_folder(cache).map(ModelStore::new)
}

/// The folder of model files: the one named, else the user's own.
pub fn cache_folder(cache: &CacheArgs) -> Result<PathBuf, Refused> {
    let folder = cache.model_cache.clone().or_else(ModelStore::default_directory);
    folder.ok_or_else(|| Refused::new("--model-cache", "this user has no home; name a folder"))
}

/// Where `scripts/llama-cpp` and `scripts/etcd` install programs: in the user's own cache folder, wherever model files
/// are kept.
pub fn tools_folder() -> Option<PathBuf> {
    ModelStore::default_directory()?.parent().map(|folder| folder.join("tools"))
}

fn embedded_config() -> Config {
    Config { default_budget: Config::EMBEDDED_BUDGET, ..Config::default() }
}

/// Gives a model's error its exit code.
pub fn model_failed(error: ModelError) -> Failed {
    let exit = match &error {
        ModelError::Unknown { .. } => {
            let help = "`jury models list` tells what each is good for";
            return Failed::new(Exit::Usage, anyhow::anyhow!("{error}; {help}"));
        }
        ModelError::MalformedHubReference { .. } => Exit::Usage,
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

// === impl ModelConfig ===

impl ModelConfig {
    /// Finds, fetches if need be, and loads the model. Blocks: the caller has nothing else to do.
    pub fn load(&self, meter: &Meter) -> Result<Arc<EngineBackend>, Failed> {
        let reference = ModelRef::parse(&self.name).map_err(model_failed)?;
        let store = ModelStore::new(&self.cache);
        let blocking = || {
            let model = store.resolve(&reference, meter).map_err(model_failed)?;
            meter.stage(&format!("loading {}", model.name));
            let mut config = EngineBackendConfig::new(model);
            config.engine.threads = self.threads;
            config.engine.device = self.device;
            config.engine.drafts = self.drafts;
            EngineBackend::load(config).map(Arc::new).map_err(load_failed)
        };
        tokio::task::block_in_place(blocking)
    }
}

// === impl Embedded ===

impl Embedded {
    /// Loads the model and starts the cluster.
    pub fn start(
        model: &ModelConfig,
        template_file: Option<&Path>,
        meter: &Meter,
    ) -> Result<Self, Failed> {
        let config = match template_file {
            Some(path) => Config { template: template(path)?, ..embedded_config() },
            None => embedded_config(),
        };
        let backend = model.load(meter)?;
        Self::start_with(backend, config, &mut Registry::default())
    }

    /// The same over a model that the caller has loaded, with the built-in template.
    pub fn over(backend: Arc<dyn Backend>) -> Result<Self, Failed> {
        Self::start_with(backend, embedded_config(), &mut Registry::default())
    }

    /// Starts the cluster over a loaded model.
    pub fn start_with(
        backend: Arc<dyn Backend>,
        config: Config,
        registry: &mut Registry,
    ) -> Result<Self, Failed> {
        let stop = CancellationToken::new();
        let directory = InProcess::new();
        let (channel, incoming) = in_process();
        let worker = Worker {
            config: WorkerConfig {
                worker_id: EMBEDDED_WORKER.to_owned(),
                advertised_address: "in-process".to_owned(),
                // The coordinator in front of it drains; what is left then is wanted by nobody.
                grace: Duration::ZERO,
            },
            backend,
            announce: Announce::InProcess(directory.clone(), channel),
            health: HealthHandle::new(&[SERVICE_NAME]),
            metrics: WorkerMetrics::register(registry),
        };
        let worker_ends = stop.child_token();
        tokio::spawn(async move {
            let listener = Listener::InProcess(incoming);
            if let Err(error) = jury_worker::run::run(worker, listener, worker_ends).await {
                tracing::error!(%error, "embedded worker ended");
            }
        });
        let coordinator =
            Coordinator::start(config, Arc::new(directory), registry).or_exit(Exit::Usage)?;
        Ok(Self { coordinator, _stop_when_dropped: stop.clone().drop_guard(), stop })
    }

    /// The coordinator, to be served elsewhere.
    pub fn coordinator(&self) -> Coordinator {
        self.coordinator.clone()
    }

    /// Serves the coordinator inside this process, and gives the way to it.
    pub fn serve_in_process(&self) -> Channel {
        let (channel, incoming) = in_process();
        let (coordinator, stop) = (self.coordinator.clone(), self.stop.child_token());
        tokio::spawn(async move {
            let listener = Listener::InProcess(incoming);
            let config = ServerConfig { grace: Duration::ZERO, ..ServerConfig::default() };
            if let Err(error) = jury_coordinator::run(coordinator, listener, config, stop).await {
                tracing::error!(%error, "embedded coordinator ended");
            }
        });
        channel
    }

    /// How far requests are, from now on.
    pub fn watch_progress(&self) -> broadcast::Receiver<Progress> {
        self.coordinator.watch_progress()
    }
}
