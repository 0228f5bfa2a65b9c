//! From a request to its verdict: what every way in shares.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use jury_coordinator::Coordinator;
use jury_coordinator::progress::Teller;
use jury_coordinator::tenants::Tenant;
use jury_fabric::trace;
use jury_fabric::transport::Peer;
use jury_grm::domain::{ScoreRequest, Verdict};
use tracing::Instrument;

use crate::error::Refused;

/// What handlers need that answer anybody.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) coordinator: Coordinator,
}

/// Whoever calls, once it is known on whose behalf. Only its handlers can judge.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) coordinator: Coordinator,
    pub(crate) tenant: Tenant,
}

// === impl Door ===

impl Door {
    pub(crate) fn new(coordinator: Coordinator) -> Self {
        Self { coordinator }
    }
}

impl FromRequestParts<Door> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Refused> {
        let authorization = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let tenant = door.coordinator.authenticate(authorization, Peer::of(&parts.extensions))?;
        Ok(Self { coordinator: door.coordinator.clone(), tenant })
    }
}

// === impl Caller ===

impl Caller {
    /// Judges one valid request. Dropping the future cancels its samples.
    pub(crate) async fn judge(
        &self,
        route: &'static str,
        headers: &HeaderMap,
        request: ScoreRequest,
        teller: &Teller,
    ) -> Result<Arc<Verdict>, Refused> {
        let span = trace::http_span(route, headers);
        let judged = self.coordinator.score_telling(&self.tenant, request, teller).instrument(span);
        judged.await.map_err(Refused::from)
    }

    /// Counts a refusal that the coordinator does not get to see.
    pub(crate) fn counted<T>(&self, read: Result<T, Refused>) -> Result<T, Refused> {
        read.inspect_err(|_| self.coordinator.record_invalid())
    }
}
