//! One `Sample` call after its group was admitted: events out, cancels in (`listen`).

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jury_proto::{ErrorCode, JuryError, v1};
use tonic::Status;
use tracing::{Instrument, Span};

use super::gate::Permit;
use super::listen::Listener;
use super::ranking::Ranking;
use crate::backend::{Backend, BackendEvent, EventReceiver};
use crate::metrics::GroupMetrics;

/// A call in progress. Dropping it cancels its samples.
pub(super) struct Call {
    events: EventReceiver,
    listener: Listener,
    ranking: Ranking,
    permit: Permit,
    metrics: GroupMetrics,
    /// The call's span, for logs while it streams.
    span: Span,
}

/// What happens next in a call.
enum Next {
    Event(BackendEvent),
    /// Every event has been received.
    Complete,
    /// The call is broken, the caller sent an invalid message, or the worker is shutting down.
    Broken(Status),
}

// === impl Call ===

impl Call {
    pub(super) fn new(
        events: EventReceiver,
        listener: Listener,
        ranking: Ranking,
        permit: Permit,
        metrics: GroupMetrics,
    ) -> Self {
        Self { events, listener, ranking, permit, metrics, span: Span::current() }
    }

    /// The call's responses. Each includes the backend's load at that moment.
    pub(super) fn into_stream(
        self,
        backend: Arc<dyn Backend>,
    ) -> BoxStream<'static, Result<v1::SampleResponse, Status>> {
        let responses = stream::unfold(Some((self, backend)), |state| async move {
            let (mut call, backend) = state?;
            let span = call.span.clone();
            match call.respond().instrument(span).await? {
                Ok(event) => {
                    let load = Some(backend.load().into());
                    let response = v1::SampleResponse { event: Some(event), load };
                    Some((Ok(response), Some((call, backend))))
                }
                Err(status) => Some((Err(status), None)),
            }
        });
        responses.boxed()
    }

    /// The next response; `None` at the end.
    async fn respond(&mut self) -> Option<Result<v1::sample_response::Event, Status>> {
        match self.next().await {
            Next::Event(mut event) => {
                if let BackendEvent::Finished(sample) = &mut event {
                    self.ranking.apply(sample);
                }
                self.metrics.record(&event);
                Some(Ok(event_to_pb(event)))
            }
            Next::Complete => None,
            Next::Broken(status) => Some(Err(status)),
        }
    }

    /// Finished samples first: when everything is ready, drawn samples are sent before anything else is handled.
    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            event = self.events.recv() => event.map_or(Next::Complete, Next::Event),
            () = self.permit.cut() => {
                let why = "the worker went down before the group was finished";
                Next::Broken(JuryError::new(ErrorCode::ShuttingDown, why).into())
            }
            status = self.listener.broken() => Next::Broken(status),
        }
    }
}

fn event_to_pb(event: BackendEvent) -> v1::sample_response::Event {
    use v1::sample_response::Event;
    match event {
        BackendEvent::Accepted { prompt_tokens, cached_tokens } => {
            Event::Accepted(v1::Accepted { prompt_tokens, cached_tokens })
        }
        BackendEvent::TooLong(too_long) => Event::TooLong(too_long.into()),
        BackendEvent::TooLarge(too_large) => Event::TooLarge(too_large.into()),
        BackendEvent::Busy { retry_after } => {
            let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
            Event::Busy(v1::Busy { retry_after_ms })
        }
        BackendEvent::Progress { index, tokens } => Event::Progress(v1::Progress { index, tokens }),
        BackendEvent::Finished(sample) => Event::Finished(sample.into()),
        BackendEvent::Failed { index, failure } => {
            Event::Failed(v1::SampleFailed { index, failure: Some(failure.into()) })
        }
    }
}
