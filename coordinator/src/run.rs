//! Serves a coordinator until it is told to stop: first report not serving, then drain, then cut.

use jury_fabric::transport::{self, HealthHandle, Listener, ServeError, ServerConfig};
use jury_proto::v1::reward_service_server::RewardServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

use crate::coordinator::Coordinator;
use crate::service::{Service, authenticator};

/// Serves `jury.v1.RewardService` on `listener` until `shutdown`, then lets running requests finish within the
/// server's grace period.
///
/// # Errors
/// [`ServeError`] if the listener fails.
pub async fn run(
    coordinator: Coordinator,
    listener: Listener,
    config: ServerConfig,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let service = RewardServiceServer::new(Service::new(coordinator.clone()))
        .max_decoding_message_size(transport::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(transport::MAX_MESSAGE_BYTES);
    // Health and reflection need no token: they reveal nothing about requests.
    let service = InterceptedService::new(service, authenticator(coordinator.clone()));
    let health = HealthHandle::new(&["jury.v1.RewardService"]);
    health.set_serving();
    let stop_serving = CancellationToken::new();
    tokio::spawn({
        let (health, stop_serving) = (health.clone(), stop_serving.clone());
        async move {
            shutdown.cancelled().await;
            health.set_not_serving();
            coordinator.close();
            stop_serving.cancel();
        }
    });
    transport::serve(Routes::new(service), health, listener, stop_serving, config).await
}
