//! `grpc.health.v1`: whether this server takes new work.
//!
//! The whole server and each of its services share one state, because each of Jury's servers has one job. It starts
//! as NOT_SERVING. `Watch` streams end when the server drains, so that a watching load balancer does not hold up a
//! shutdown.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What the watchers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    serving: bool,
    /// True once the server drains; no further state follows.
    closed: bool,
}

/// Sets the answer of `grpc.health.v1` and `/healthz`. Clones share one state.
#[derive(Debug, Clone)]
pub struct HealthHandle {
    state: Arc<watch::Sender<State>>,
    /// Full names of the services that may be asked about, in addition to "".
    services: Arc<[String]>,
}

/// There was no answer to the health check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// None arrived in time.
    #[error("nothing within {0:?}")]
    Late(Duration),
    /// The server could not be asked, or does not offer the health service.
    #[error("{0}")]
    Refused(String),
}

/// Asks the server on `channel` whether it takes new work.
///
/// # Errors
/// [`NoAnswer`] if none arrives within `patience`.
pub async fn is_serving(channel: Channel, patience: Duration) -> Result<bool, NoAnswer> {
    let request = HealthCheckRequest { service: String::new() };
    let mut client = HealthClient::new(channel);
    match tokio::time::timeout(patience, client.check(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().status() == ServingStatus::Serving),
        Ok(Err(status)) => Err(NoAnswer::Refused(status.message().to_owned())),
        Err(_) => Err(NoAnswer::Late(patience)),
    }
}

/// The gRPC service over a handle's state.
pub(super) struct HealthService(HealthHandle);

// === impl HealthHandle ===

impl HealthHandle {
    /// NOT_SERVING for the server as a whole (`""`) and for `services`, by full name
    /// (`jury.v1.RewardService`). Reflection lists the same names.
    pub fn new(services: &[&str]) -> Self {
        let (state, _) = watch::channel(State { serving: false, closed: false });
        let services = services.iter().map(|&name| name.to_owned()).collect();
        Self { state: Arc::new(state), services }
    }

    /// From now on the server takes new work.
    pub fn set_serving(&self) {
        self.set(true);
    }

    /// From now on new work should go elsewhere; calls that still arrive are served.
    pub fn set_not_serving(&self) {
        self.set(false);
    }

    /// Whether the server takes new work.
    pub fn is_serving(&self) -> bool {
        self.state.borrow().serving
    }

    /// Full names of the services that may be asked about, in addition to "".
    pub(super) fn services(&self) -> &[String] {
        &self.services
    }

    /// Sets NOT_SERVING for good, and ends every `Watch`.
    pub(super) fn close(&self) {
        self.state.send_replace(State { serving: false, closed: true });
    }

    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService(self.clone()))
    }

    fn set(&self, serving: bool) {
        self.state.send_if_modified(|state| {
            let changes = !state.closed && state.serving != serving;
            if changes {
                state.serving = serving;
            }
            changes
        });
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.iter().any(|name| name == service)
    }
}

// === impl HealthService ===

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !self.0.knows(service) {
            return Err(Status::not_found(format!("no service {service:?} here")));
        }
        let status = status_of(self.0.is_serving()).into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.0.knows(&request.get_ref().service);
        let state = self.0.state.subscribe();
        let answers = stream::unfold((state, None), move |(mut state, last_told)| async move {
            let serving = next_state(&mut state, last_told).await?;
            // The protocol requires that a watch of an unknown service stays open: the service may still appear.
            let status = if known { status_of(serving) } else { ServingStatus::ServiceUnknown };
            Some((Ok(HealthCheckResponse { status: status.into() }), (state, Some(serving))))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

// === private ===

fn status_of(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Waits for a state that was not sent to this watcher yet; `None` if no more will follow.
async fn next_state(state: &mut watch::Receiver<State>, last_told: Option<bool>) -> Option<bool> {
    loop {
        let now = *state.borrow_and_update();
        if last_told != Some(now.serving) {
            return Some(now.serving);
        }
        if now.closed || state.changed().await.is_err() {
            return None;
        }
    }
}
