//! Scripted workers that serve gRPC in memory. Tests inside the crate start these too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jury_fabric::connector::Connector;
use jury_fabric::directory::{InProcess, Registration, WorkerRole};
use jury_fabric::transport::{HealthHandle, Listener};
use jury_worker::backend::Backend;
use jury_worker::heads::Heads;
use jury_worker::metrics::WorkerMetrics;
use jury_worker::run::{Announce, SERVICE_NAME, Worker, WorkerConfig};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Scripted workers without a coordinator; end when dropped.
pub struct Workers {
    /// Where they are found.
    pub directory: InProcess,
    /// How they are reached.
    pub connector: Connector,
    /// What the directory was told of each.
    pub registrations: Vec<Registration>,
    /// Ends one worker, by id.
    pub leave: HashMap<String, CancellationToken>,
    /// Ends them all.
    pub stop: CancellationToken,
    /// Ends them when the last owner is gone.
    pub stop_when_dropped: DropGuard,
}

impl Workers {
    /// Starts to serve `workers`, each by its id.
    pub fn start<B: Backend + Clone>(grace: Duration, workers: &[(&str, B)]) -> Self {
        Self::start_with_heads(grace, workers, |_| Heads::default())
    }

    /// The same, each with its heads.
    pub fn start_with_heads<B: Backend + Clone>(
        grace: Duration,
        workers: &[(&str, B)],
        heads: impl Fn(&str) -> Heads,
    ) -> Self {
        let stop = CancellationToken::new();
        let (directory, connector) = (InProcess::new(), Connector::new());
        let mut leave = HashMap::new();
        let mut registrations = Vec::new();
        for (worker_id, backend) in workers {
            let (address, incoming) = connector.open(worker_id);
            let worker = Worker {
                config: WorkerConfig {
                    worker_id: (*worker_id).to_owned(),
                    advertised_address: address.clone(),
                    grace,
                },
                backend: Arc::new(backend.clone()),
                heads: heads(worker_id),
                // The directory is told by us alone, as one that is away when a worker leaves.
                announce: Announce::Nowhere,
                health: HealthHandle::new(&[SERVICE_NAME]),
                metrics: WorkerMetrics::unregistered(),
            };
            let listener = Listener::InProcess(incoming);
            registrations.push(registration(worker_id, address));
            let ends = stop.child_token();
            leave.insert((*worker_id).to_owned(), ends.clone());
            tokio::spawn(jury_worker::run::run(worker, listener, ends));
        }
        for registration in &registrations {
            directory.add(registration.clone());
        }
        let stop_when_dropped = stop.clone().drop_guard();
        Self { directory, connector, registrations, leave, stop, stop_when_dropped }
    }
}

/// What the directory knows of a worker; the rest is asked of the worker.
fn registration(worker_id: &str, address: String) -> Registration {
    Registration {
        worker_id: worker_id.to_owned(),
        address,
        model: String::new(),
        model_digest: String::new(),
        numerics: String::new(),
        method_version: String::new(),
        roles: vec![WorkerRole::Grm],
        capacity: 0,
        version: String::new(),
        incarnation: String::new(),
    }
}
