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

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use axum::serve::Listener;
use jury_coordinator::Coordinator;
use jury_fabric::transport::{Reach, is_own_host, serve_http};
use tokio_util::sync::CancellationToken;

use crate::error::{Refused, method_not_allowed, no_such_path, not_under_this_name};
use crate::judging::Door;

/// The contract, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Serves the door on `listener`, of TCP or of TLS, until `shutdown`; then running calls have `grace` to finish. A call
/// whose body is not whole by then is given up.
///
/// On a loopback address, without TLS and tenants, `localhost` is the only host name that is answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    coordinator: Coordinator,
    listener: impl Listener<Addr = SocketAddr>,
    reach: Reach,
    grace: Duration,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let routes = router(coordinator.clone());
    // Elsewhere, a page lacks the token, fails at the certificate, or has to reach another machine.
    let is_local = reach == Reach::Plain && listener.local_addr()?.ip().is_loopback();
    let routes = match is_local && !coordinator.wants_tokens() {
        true => routes.layer(from_fn(own_hosts)),
        false => routes,
    };
    let closing = async {
        shutdown.cancelled().await;
        coordinator.close();
        std::future::pending().await
    };
    tokio::select! {
        ended = serve_http(routes, listener, grace, shutdown.clone()) => ended,
        ended = closing => ended,
    }
}

/// Answers only if `Host` is an address or `localhost`. A page that is open in a browser of this machine may use a host name
/// of its own that resolves to this address (DNS rebinding).
async fn own_hosts(request: Request, next: Next) -> Result<Response, Refused> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    match host {
        Some(host) if !is_own_host(host) => Err(not_under_this_name(host)),
        _ => Ok(next.run(request).await),
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
