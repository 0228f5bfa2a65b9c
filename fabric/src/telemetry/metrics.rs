//! Metrics for Prometheus.

use std::fmt::{Debug, Error as FormatError};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::transport::HealthHandle;

/// Upper bounds of latency buckets, in seconds: a critique on a CPU takes minutes.
pub const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// The content type that Prometheus asks for; its own parsers accept nothing less specific.
const OPENMETRICS_TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A hanging scrape must not delay the end of the process.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// The state that the handlers read.
#[derive(Clone)]
struct Sources {
    registry: Arc<Registry>,
    health: HealthHandle,
}

/// Serves `GET /metrics` (OpenMetrics text), `GET /healthz` (200 while serving, else 503) and
/// `GET /livez` (200 while the process answers) until `shutdown`.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics<L>(
    listener: L,
    registry: Arc<Registry>,
    health: HealthHandle,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: Debug,
{
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .with_state(Sources { registry, health });
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let drain_limit = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_LIMIT).await;
    };
    tokio::select! {
        result = server => result,
        () = drain_limit => Ok(()),
    }
}

// === private ===

async fn metrics(State(sources): State<Sources>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &sources.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS_TEXT)], text).into_response(),
        Err(FormatError) => {
            error!("metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn healthz(State(sources): State<Sources>) -> (StatusCode, &'static str) {
    if sources.health.is_serving() {
        (StatusCode::OK, "serving\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
    }
}

/// A server that takes no work may still be healthy, and must not be killed for that.
async fn livez() -> &'static str {
    "alive\n"
}
