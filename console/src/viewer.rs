//! Who is looking, and what they may see.
//!
//! Without a tenants file everybody is the single tenant. With one, a person submits a token once, in a form, and has a
//! session from then on; a program sends `Authorization: Bearer TOKEN` with each call, as for the other servers. Once a
//! token is revoked, its user sees nothing any more, from the next request on.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use jury_coordinator::tenants::Tenant;
use jury_fabric::transport::Peer;

use crate::Console;
use crate::pages::sign_in;

/// The viewer, once their tenant is known. Everyone sees the fleet, but only their own tenant's requests and
/// verdicts.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    tenant: Tenant,
    /// Whether there may be other tenants.
    has_token: bool,
}

/// Why nothing is shown.
#[derive(Debug)]
pub(crate) enum Turned {
    /// No token was submitted yet.
    ToForm,
    /// The token is unknown.
    Away {
        /// A sentence for a person.
        why: String,
    },
}

// === impl Viewer ===

impl Viewer {
    /// A viewer with a token.
    #[cfg(test)]
    pub(crate) fn with_token() -> Self {
        Self { tenant: Tenant::in_process(), has_token: true }
    }

    /// The tenant whose requests are shown.
    pub(crate) fn tenant(&self) -> &str {
        self.tenant.name()
    }

    /// Its name, if there are other tenants.
    pub(crate) fn shown_name(&self) -> Option<&str> {
        self.has_token.then(|| self.tenant())
    }

    fn of(
        console: &Console,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<Self, Turned> {
        let coordinator = &console.coordinator;
        if !coordinator.wants_tokens() {
            return Ok(Self { tenant: Tenant::in_process(), has_token: false });
        }
        let tenant = match headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes) {
            Some(shown) => coordinator
                .authenticate(Some(shown), peer)
                .map_err(|error| Turned::Away { why: error.message })?,
            None => {
                let session = console.sessions.of(headers);
                let still = session.and_then(|tenant| coordinator.renewed(&tenant).ok());
                still.ok_or(Turned::ToForm)?
            }
        };
        Ok(Self { tenant, has_token: true })
    }
}

impl FromRequestParts<Console> for Viewer {
    type Rejection = Turned;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Turned> {
        Self::of(console, &parts.headers, Peer::of(&parts.extensions))
    }
}

// === impl Turned ===

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        match self {
            Self::ToForm => Redirect::to(sign_in::PATH).into_response(),
            Self::Away { why } => sign_in::refused(&why).into_response(),
        }
    }
}
