//! Scripted workers that serve gRPC in memory. Unit tests of the crate use them too.

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

/// Scripted workers without a coordinator; stopped when dropped.
pub struct Workers {
    /// The directory that they are registered in.
    pub directory: InProcess,
    /// The connector that reaches them.
    pub connector: Connector,
    /// Their registrations.
    pub registrations: Vec<Registration>,
    /// Stops one worker, by id.
    pub leave: HashMap<String, CancellationToken>,
    /// Stops all of them.
    pub stop: CancellationToken,
    /// Stops them when the last owner is dropped.
    pub stop_when_dropped: DropGuard,
}

impl Workers {
    /// Starts serving `workers`, each under its id.
    pub fn start<B: Backend + Clone>(grace: Duration, workers: &[(&str, B)]) -> Self {
        Self::start_with_heads(grace, workers, |_| Heads::default())
    }

    /// The same, each worker with its heads.
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
                // The tests update the directory, which may therefore miss that a worker leaves.
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

/// What the directory knows about a worker; the rest is asked of the worker itself.
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
