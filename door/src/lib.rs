//! The coordinator over HTTP and JSON, for those who cannot use gRPC.
//!
//! ```text
//! body      bytes to text, within a size and a time      error     refusals as JSON, with the right status
//! headers   what a call says beside its body             judging   a request to its verdict
//! score     POST /v1/score, /v1/score/stream             status    GET /v1/status, /healthz, /readyz, /openapi.json
//! unknown   keys of a body that nobody looks at, as a header
//! facade    the services that trainers call: OpenRLHF, NeMo-Gym, slime, chat completions
//! ```
//!
//! `openapi.json` is the contract, and a test holds it against the server. Handlers run inside the
//! caller's connection: when it breaks, the handler is dropped, and the samples with it.
//!
//! Where the coordinator has tenants, every path that judges or tells of the fleet wants a token, as gRPC does
//! (`Caller`); health and the contract are open.

mod body;
mod error;
mod facade;
mod headers;
mod judging;
mod score;
mod status;
mod unknown;

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use axum::serve::Listener;
use jury_coordinator::Coordinator;
use jury_fabric::transport::serve_http;
use tokio_util::sync::CancellationToken;

use crate::error::{method_not_allowed, no_such_path};
use crate::judging::Door;

/// The contract, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Serves the door on `listener`, of TCP or of TLS, until `shutdown`; then running calls have `grace` to finish. A call
/// whose body is not whole by then is given up.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    coordinator: Coordinator,
    listener: impl Listener<Addr: Debug>,
    grace: Duration,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let closing = async {
        shutdown.cancelled().await;
        coordinator.close();
        std::future::pending().await
    };
    tokio::select! {
        ended = serve_http(router(coordinator.clone()), listener, grace, shutdown.clone()) => ended,
        ended = closing => ended,
    }
}

/// Every path of the door.
pub fn router(coordinator: Coordinator) -> Router {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Door::new(coordinator))
}

/// The paths that [`router`] answers.
pub fn paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

fn routes() -> Vec<(&'static str, MethodRouter<Door>)> {
    vec![
        ("/v1/score", post(score::score)),
        ("/v1/score/stream", post(score::stream)),
        ("/v1/status", get(status::status)),
        ("/healthz", get(status::healthz)),
        ("/readyz", get(status::readyz)),
        ("/openapi.json", get(status::openapi)),
        ("/get_reward", post(facade::openrlhf::get_reward)),
        ("/verify", post(facade::nemo_gym::verify)),
        ("/slime", post(facade::slime::reward)),
        ("/v1/chat/completions", post(facade::chat::completions)),
    ]
}
