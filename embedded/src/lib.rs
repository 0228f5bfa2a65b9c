//! A whole cluster inside this process: a coordinator, one worker and optionally a Meta RM, connected by in-process
//! pipes.
//!
//! For commands, benchmarks and other code that needs verdicts without running servers. It uses the same servers and
//! clients as a cluster across machines, without sockets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jury_coordinator::{Config, ConfigError, Coordinator};
use jury_fabric::connector::Connector;
use jury_fabric::directory::InProcess;
use jury_fabric::transport::{Channel, HealthHandle, Listener, ServerConfig, in_process};
use jury_worker::backend::Backend;
use jury_worker::heads::Heads;
use jury_worker::metrics::WorkerMetrics;
use jury_worker::run::{Announce, SERVICE_NAME, Worker, WorkerConfig};
use prometheus_client::registry::Registry;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Id of the embedded worker that draws samples.
const EMBEDDED_WORKER: &str = "embedded";
/// Id of the embedded worker that ranks them.
const EMBEDDED_META: &str = "embedded-meta";

/// How long calls wait for the workers that were started. They always arrive, however busy the machine is.
const WORKER_WAIT: Duration = Duration::from_secs(60);

/// The usual coordinator configuration, with a budget suited to a CPU.
pub fn default_config() -> Config {
    Config { default_budget: Config::EMBEDDED_BUDGET, ..Config::default() }
}

/// A coordinator and its workers inside this process. Stops when dropped.
pub struct Embedded {
    /// Dropped first: workers must learn that they are stopping before their connection closes, which would look like
    /// a fault.
    _stop_when_dropped: DropGuard,
    coordinator: Coordinator,
    directory: InProcess,
    connector: Connector,
    metrics: WorkerMetrics,
    stop: CancellationToken,
    /// Ids of the workers that were started.
    workers: Mutex<Vec<&'static str>>,
}

// === impl Embedded ===

impl Embedded {
    /// Starts the cluster for a loaded model, whose samples `heads` can rank. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that cannot work.
    pub fn start(
        backend: Arc<dyn Backend>,
        heads: Heads,
        config: Config,
        registry: &mut Registry,
    ) -> Result<Self, ConfigError> {
        Self::start_with_meta(backend, heads, None, config, registry)
    }

    /// Same, with a second backend in the role `meta`. Requests select it by its model's name.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_meta(
        backend: Arc<dyn Backend>,
        heads: Heads,
        meta: Option<Arc<dyn Backend>>,
        config: Config,
        registry: &mut Registry,
    ) -> Result<Self, ConfigError> {
        let cluster = Self::begin(config, registry)?;
        cluster.join(backend, heads);
        if let Some(meta) = meta {
            // One registry cannot hold the same metrics twice.
            let unregistered = WorkerMetrics::unregistered();
            cluster.start_worker(EMBEDDED_META, meta, Heads::default(), unregistered);
        }
        Ok(cluster)
    }

    /// Starts only the coordinator, for a model that is loaded later. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn begin(config: Config, registry: &mut Registry) -> Result<Self, ConfigError> {
        let (directory, connector) = (InProcess::new(), Connector::new());
        let metrics = WorkerMetrics::register(registry);
        let stop = CancellationToken::new();
        let in_process = Arc::new(directory.clone());
        let coordinator = Coordinator::start(config, in_process, connector.clone(), registry)?;
        let _stop_when_dropped = stop.clone().drop_guard();
        let workers = Mutex::default();
        Ok(Self { _stop_when_dropped, coordinator, directory, connector, metrics, stop, workers })
    }

    /// Adds the worker that draws samples. Call it once.
    pub fn join(&self, backend: Arc<dyn Backend>, heads: Heads) {
        self.start_worker(EMBEDDED_WORKER, backend, heads, self.metrics.clone());
    }

    fn start_worker(
        &self,
        worker_id: &'static str,
        backend: Arc<dyn Backend>,
        heads: Heads,
        metrics: WorkerMetrics,
    ) {
        self.started().push(worker_id);
        let (address, incoming) = self.connector.open(worker_id);
        let worker = Worker {
            config: WorkerConfig {
                worker_id: worker_id.to_owned(),
                advertised_address: address,
                // The coordinator in front of the worker drains; nobody is waiting for what is left after that.
                grace: Duration::ZERO,
            },
            backend,
            heads,
            announce: Announce::InProcess(self.directory.clone()),
            health: HealthHandle::new(&[SERVICE_NAME]),
            metrics,
        };
        let worker_ends = self.stop.child_token();
        tokio::spawn(async move {
            let listener = Listener::InProcess(incoming);
            if let Err(error) = jury_worker::run::run(worker, listener, worker_ends).await {
                tracing::error!(worker_id, %error, "embedded worker ended");
            }
        });
    }

    fn started(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coordinator, for serving it elsewhere.
    pub fn coordinator(&self) -> Coordinator {
        self.coordinator.clone()
    }

    /// Serves the coordinator inside this process and returns a channel to it. Calls wait until the started workers
    /// are known: an earlier call would find no Meta RM to rank its samples.
    pub fn serve_in_process(&self) -> Channel {
        let (channel, incoming) = in_process();
        let (coordinator, stop) = (self.coordinator.clone(), self.stop.child_token());
        let workers = self.started().clone();
        tokio::spawn(async move {
            coordinator.wait_for_workers(&workers, WORKER_WAIT).await;
            let listener = Listener::InProcess(incoming);
            let config = ServerConfig { grace: Duration::ZERO, ..ServerConfig::default() };
            if let Err(error) = jury_coordinator::run(coordinator, listener, config, stop).await {
                tracing::error!(%error, "embedded coordinator ended");
            }
        });
        channel
    }
}
