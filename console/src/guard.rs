//! Headers of every answer, and which host names are accepted.
//!
//! Without TLS and tenants, anyone who can reach the address may look. A page elsewhere must not be able to, through a
//! host name of its own that resolves to this address (DNS rebinding): only addresses and `localhost` are answered.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jury_fabric::transport::is_own_host;

use crate::Console;

/// Only our own files, and no inline scripts.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    // Texts of tenants must not be cached, and are gone when the tab is closed.
    (header::CACHE_CONTROL, "no-store"),
    (header::VARY, "cookie, authorization"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Answers only for known hosts, and adds the headers to every answer.
pub(crate) async fn guard(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    // A foreign name that resolves to this address has no session cookie and no certificate.
    let any_name = console.is_secure() || console.coordinator.wants_tokens();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = match host {
        // HTTP/1.0 and tests; a browser always sends it.
        None => next.run(request).await,
        Some(host) if any_name || is_own_host(host) => next.run(request).await,
        Some(_) => refused(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refused() -> Response {
    let text = "the console answers under an address or as localhost, not under another name: \
                open http://ADDRESS:PORT/, or forward the port to this machine\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}
