//! From a request to its verdict: what every way in shares.

use std::sync::Arc;

use axum::http::HeaderMap;
use jury_coordinator::Coordinator;
use jury_coordinator::progress::Teller;
use jury_fabric::trace;
use jury_grm::domain::{ScoreRequest, Verdict};
use tracing::Instrument;

use crate::error::Refused;

/// What handlers need.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) coordinator: Coordinator,
}

// === impl Door ===

impl Door {
    pub(crate) fn new(coordinator: Coordinator) -> Self {
        Self { coordinator }
    }

    /// Judges one valid request. Dropping the future cancels its samples.
    pub(crate) async fn judge(
        &self,
        route: &'static str,
        headers: &HeaderMap,
        request: ScoreRequest,
        teller: &Teller,
    ) -> Result<Arc<Verdict>, Refused> {
        let span = trace::http_span(route, headers);
        let judged = self.coordinator.score_telling(request, teller).instrument(span);
        judged.await.map_err(Refused::from)
    }

    /// Counts a refusal that the coordinator does not get to see.
    pub(crate) fn counted<T>(&self, read: Result<T, Refused>) -> Result<T, Refused> {
        read.inspect_err(|_| self.coordinator.refused())
    }
}
