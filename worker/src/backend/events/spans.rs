//! One span per sample, from the acceptance of its group to the sample's end. None are created if no spans are
//! exported.

use std::collections::BTreeMap;

use jury_fabric::trace::Place;
use jury_grm::domain::{FailureKind, Outcome, Sample};
use tracing::Span;
use tracing::field::debug;

/// The spans of one group's samples.
#[derive(Debug)]
pub(super) struct SampleSpans {
    /// The call's position in its trace.
    place: Place,
    /// By index.
    open: BTreeMap<u32, Span>,
}

// === impl SampleSpans ===

impl SampleSpans {
    /// For samples requested by the current span.
    pub(super) fn of_current_call() -> Self {
        Self { place: Place::current(), open: BTreeMap::new() }
    }

    pub(super) fn begin(&mut self, indices: impl IntoIterator<Item = u32>) {
        let spans = indices.into_iter().map(|index| (index, self.place.sample_span(index)));
        self.open = spans.filter(|(_, span)| !span.is_disabled()).collect();
    }

    pub(super) fn finish(&mut self, sample: &Sample) {
        let Some(span) = self.open.remove(&sample.spec.index) else { return };
        span.record("tokens", i64::from(sample.generated_tokens));
        match &sample.outcome {
            Outcome::Scored(_) => span.record("outcome", "Scored"),
            Outcome::Failed { failure } => span.record("outcome", debug(failure.kind)),
        };
    }

    pub(super) fn fail(&mut self, index: u32, kind: FailureKind) {
        let Some(span) = self.open.remove(&index) else { return };
        span.record("outcome", debug(kind));
        if kind != FailureKind::NotNeeded {
            span.record("otel.status_code", "error");
        }
    }
}
