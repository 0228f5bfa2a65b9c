//! A whole cluster inside this process: a coordinator and one worker, over in-process pipes.
//!
//! For commands, benchmarks and whatever else wants verdicts without serving them: the same servers and clients as
//! between machines, without a socket.

use std::sync::Arc;
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

/// Id of the only worker of an embedded cluster.
const EMBEDDED_WORKER: &str = "embedded";

/// How an embedded coordinator judges: as any other, with a budget for a CPU.
pub fn default_config() -> Config {
    Config { default_budget: Config::EMBEDDED_BUDGET, ..Config::default() }
}

/// A coordinator and one worker inside this process. Ends when dropped.
pub struct Embedded {
    coordinator: Coordinator,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
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
        let stop = CancellationToken::new();
        let directory = InProcess::new();
        let connector = Connector::new();
        let (address, incoming) = connector.open(EMBEDDED_WORKER);
        let worker = Worker {
            config: WorkerConfig {
                worker_id: EMBEDDED_WORKER.to_owned(),
                advertised_address: address,
                // The coordinator in front of it drains; what is left then is wanted by nobody.
                grace: Duration::ZERO,
            },
            backend,
            heads,
            announce: Announce::InProcess(directory.clone()),
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
        let coordinator = Coordinator::start(config, Arc::new(directory), connector, registry)?;
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
}
