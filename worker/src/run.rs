//! A worker's life, from start to shutdown.
//!
//! ```text
//! serve gRPC -> SERVING -> announce -> ... shutdown, or the backend dies ...
//!   -> NOT_SERVING -> withdraw -> admit none -> drain within grace -> cut, and log the rest -> stop serving
//! ```
//!
//! A worker whose backend is dead takes the same path and ends with an error, so that its supervisor restarts it. A
//! worker whose backend is away, for example because a card was lost, leaves the fleet and rejoins it when the backend
//! is back:
//!
//! ```text
//! away -> admit none -> NOT_SERVING -> withdraw -> ... back -> admit -> announce -> SERVING
//! ```

use std::sync::Arc;
use std::time::Duration;

use jury_fabric::directory::{Etcd, InProcess, Registration, RegistrationHandle, WorkerRole};
use jury_fabric::transport::{
    HealthHandle, Listener, MAX_MESSAGE_BYTES, ServeError, ServerConfig, serve,
};
use jury_proto::convert::{self, WorkerInfo};
use jury_proto::v1::sampling_service_server::SamplingServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::backend::availability::{not_away, not_up};
use crate::backend::{Availability, Backend};
use crate::heads::Heads;
use crate::metrics::WorkerMetrics;
use crate::service::{Gate, Sampling};

/// Full name of the service, for health checks.
pub const SERVICE_NAME: &str = "jury.v1.SamplingService";

/// Time for the last bytes of drained calls to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// How a worker presents itself and leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The worker's id; unique in the cluster.
    pub worker_id: String,
    /// `http://host:port` at which coordinators reach it.
    pub advertised_address: String,
    /// Time that running samples have to finish once the shutdown begins.
    pub grace: Duration,
}

/// Where a worker announces itself.
#[derive(Debug, Clone)]
pub enum Announce {
    /// Nowhere: coordinators were configured with its address.
    Nowhere,
    /// In etcd.
    Etcd(Etcd),
    /// In this process.
    InProcess(InProcess),
}

/// All parts of a worker.
pub struct Worker {
    /// How it presents itself and leaves.
    pub config: WorkerConfig,
    /// What draws its samples or ranks trajectories.
    pub backend: Arc<dyn Backend>,
    /// The heads that score its samples on request.
    pub heads: Heads,
    /// Where it announces itself.
    pub announce: Announce,
    /// Its health: created with [`SERVICE_NAME`], NOT_SERVING until the worker serves.
    pub health: HealthHandle,
    /// Its metrics.
    pub metrics: WorkerMetrics,
}

/// Why a worker ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The transport failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The server ended or panicked: a bug in Jury.
    #[error("the worker's server ended by itself: {0}")]
    Server(String),
    /// The backend can no longer draw.
    #[error("the worker's backend died: {0}")]
    BackendDied(Arc<str>),
}

/// Why a worker stops accepting work.
enum Event {
    Shutdown,
    /// Its backend is no longer up.
    Backend(Availability),
    ServerEnded(Result<Result<(), ServeError>, tokio::task::JoinError>),
}

/// A registration in force.
enum Announced {
    Nowhere,
    Etcd(RegistrationHandle),
    InProcess { directory: InProcess, worker_id: String },
}

/// Serves until `shutdown` is cancelled, then leaves in order.
///
/// # Errors
/// [`WorkerError`]. Having to cut off samples is not an error; it is logged.
pub async fn run(
    worker: Worker,
    listener: Listener,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let Worker { config, backend, heads, announce, health, metrics } = worker;
    let gate = Gate::new();
    let worker_id = config.worker_id.as_str();
    let sampling = Sampling::new(worker_id, backend.clone(), heads, gate.clone(), metrics.clone());
    let info = sampling.info();
    let stop = CancellationToken::new();
    let _stop_when_dropped = stop.clone().drop_guard();
    let mut server = tokio::spawn(serve(
        routes(sampling),
        health.clone(),
        listener,
        stop.clone(),
        ServerConfig { grace: FLUSH, ..ServerConfig::default() },
    ));
    tracing::info!(
        worker_id = info.worker_id,
        model = info.model,
        numerics = info.numerics,
        capacity = info.capacity,
        "worker serves"
    );

    let mut availability = backend.availability();
    let end = loop {
        health.set_serving();
        let announced = Announced::begin(announce.clone(), registration(&info, &config));
        let event = tokio::select! {
            // Whoever triggers the shutdown may close our connections as well, so it is checked first.
            biased;
            () = shutdown.cancelled() => Event::Shutdown,
            now = not_up(&mut availability) => Event::Backend(now),
            ended = &mut server => Event::ServerEnded(ended),
        };
        if let Event::Backend(Availability::Away(why)) = &event {
            gate.close();
            metrics.left();
            tracing::warn!(
                worker_id,
                why = &**why,
                "worker leaves the fleet until its backend is back"
            );
        }
        health.set_not_serving();
        announced.withdraw().await;
        match event {
            Event::Shutdown => break Ok(()),
            Event::Backend(Availability::Dead(why)) => break Err(WorkerError::BackendDied(why)),
            Event::ServerEnded(ended) => {
                gate.cut();
                return Err(server_ended(ended));
            }
            Event::Backend(Availability::Away(_) | Availability::Up) => {}
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break Ok(()),
            now = not_away(&mut availability) => {
                if let Availability::Dead(why) = now {
                    break Err(WorkerError::BackendDied(why));
                }
            }
            ended = &mut server => {
                gate.cut();
                return Err(server_ended(ended));
            }
        }
        metrics.came_back();
        gate.open();
        tracing::info!(worker_id, "worker joins the fleet again");
    };

    gate.close();
    drain(&gate, config.grace).await;
    stop.cancel();
    match server.await {
        Ok(served) => served?,
        Err(panic) => return Err(WorkerError::Server(panic.to_string())),
    }
    end
}

// === private ===

fn routes(sampling: Sampling) -> Routes {
    let service = SamplingServiceServer::new(sampling).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(service)
}

fn registration(info: &WorkerInfo, config: &WorkerConfig) -> Registration {
    Registration {
        worker_id: info.worker_id.clone(),
        address: config.advertised_address.clone(),
        model: info.model.clone(),
        model_digest: info.model_digest.clone(),
        numerics: info.numerics.clone(),
        method_version: info.method_version.clone(),
        roles: info.roles.iter().map(|&role| role_told(role)).collect(),
        capacity: info.capacity,
        version: info.version.clone(),
        // Each start has a generated id, unless one is set.
        incarnation: String::new(),
    }
}

fn role_told(role: convert::WorkerRole) -> WorkerRole {
    match role {
        convert::WorkerRole::Grm => WorkerRole::Grm,
        convert::WorkerRole::Meta => WorkerRole::Meta,
    }
}

/// Waits for the groups in progress, then makes them leave.
async fn drain(gate: &Gate, grace: Duration) {
    if tokio::time::timeout(grace, gate.empty()).await.is_ok() {
        tracing::info!("worker drained");
        return;
    }
    for left in gate.cut() {
        tracing::warn!(
            request_id = left.request_id,
            samples = left.samples,
            grace = ?grace,
            "grace period ended, group cut"
        );
    }
}

fn server_ended(ended: Result<Result<(), ServeError>, tokio::task::JoinError>) -> WorkerError {
    match ended {
        Ok(Ok(())) => WorkerError::Server("nobody can connect any more".to_owned()),
        Ok(Err(error)) => error.into(),
        Err(panic) => WorkerError::Server(panic.to_string()),
    }
}

// === impl Announced ===

impl Announced {
    fn begin(announce: Announce, registration: Registration) -> Self {
        match announce {
            Announce::Nowhere => Self::Nowhere,
            Announce::Etcd(etcd) => Self::Etcd(etcd.register(registration)),
            Announce::InProcess(directory) => {
                let worker_id = registration.worker_id.clone();
                directory.add(registration);
                Self::InProcess { directory, worker_id }
            }
        }
    }

    async fn withdraw(self) {
        match self {
            Self::Nowhere => {}
            Self::Etcd(handle) => handle.withdraw().await,
            Self::InProcess { directory, worker_id } => directory.remove(&worker_id),
        }
    }
}
