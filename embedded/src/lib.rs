//! A whole cluster inside this process: a coordinator, one worker and perhaps a Meta RM, over in-process pipes.
//!
//! For commands, benchmarks and whatever else wants verdicts without serving them: the same servers and clients as
//! between machines, without a socket.

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

/// Id of the worker of an embedded cluster that draws.
const EMBEDDED_WORKER: &str = "embedded";
/// Id of the one that ranks.
const EMBEDDED_META: &str = "embedded-meta";

/// How long calls wait for the workers that were started: they come, however busy the machine is.
const WORKER_WAIT: Duration = Duration::from_secs(60);

/// How an embedded coordinator judges: as any other, with a budget for a CPU.
pub fn default_config() -> Config {
    Config { default_budget: Config::EMBEDDED_BUDGET, ..Config::default() }
}

/// A coordinator and its workers inside this process. Ends when dropped.
pub struct Embedded {
    /// Dropped first: workers must know that they end before the way to them closes, which would look like a fault.
    _stop_when_dropped: DropGuard,
    coordinator: Coordinator,
    directory: InProcess,
    connector: Connector,
    metrics: WorkerMetrics,
    stop: CancellationToken,
    /// Who was started.
    workers: Mutex<Vec<&'static str>>,
}

// === impl Embedded ===

impl Embedded {
    /// Starts the cluster over a loaded model, whose samples `heads` can rank. Must run inside a tokio runtime.
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

    /// The same with a second backend, whose role is `meta`: requests ask for it by its model's name.
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

    /// Starts the coordinator alone, for a model that is still to be loaded. Must run inside a tokio runtime.
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

    /// Lets the worker join that draws, once.
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
                // The coordinator in front of it drains; what is left then is wanted by nobody.
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

    /// The coordinator, to be served elsewhere.
    pub fn coordinator(&self) -> Coordinator {
        self.coordinator.clone()
    }

    /// Serves the coordinator inside this process, and gives the way to it. Calls wait until the workers that were started are known: who came
    /// before a Meta RM would find nobody to rank.
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
