//! One call of `Sample` after its group has been let in: events out, cancels in.

use std::future::pending;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jury_proto::{ErrorCode, JuryError, v1};
use tonic::{Status, Streaming};
use tracing::{Instrument, Span};

use super::gate::Permit;
use crate::backend::{Backend, BackendEvent, EventReceiver, GroupHandle};
use crate::metrics::GroupMetrics;

/// A call in progress. Dropping it cancels its samples.
pub(super) struct Call {
    events: EventReceiver,
    /// `None` when the caller has closed its side; that alone cancels nothing.
    requests: Option<Streaming<v1::SampleRequest>>,
    handle: GroupHandle,
    permit: Permit,
    metrics: GroupMetrics,
    /// The call's span, for what is logged while it streams.
    span: Span,
}

/// What happens next in a call.
enum Next {
    Event(BackendEvent),
    /// Every event has been received.
    Complete,
    Cancel(v1::CancelSamples),
    /// The caller said what it has no business saying.
    Confused(JuryError),
    /// The call is broken, or the worker goes down.
    Broken(Status),
}

// === impl Call ===

impl Call {
    pub(super) fn new(
        events: EventReceiver,
        requests: Streaming<v1::SampleRequest>,
        handle: GroupHandle,
        permit: Permit,
        metrics: GroupMetrics,
    ) -> Self {
        Self { events, requests: Some(requests), handle, permit, metrics, span: Span::current() }
    }

    /// The call's responses. Each carries the backend's load at that moment.
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
        loop {
            match self.next().await {
                Next::Event(event) => {
                    self.metrics.record(&event);
                    return Some(Ok(event_to_pb(event)));
                }
                Next::Complete => return None,
                Next::Cancel(cancel) => self.handle.cancel(&cancel.indices),
                Next::Confused(error) => return Some(Err(error.into())),
                Next::Broken(status) => return Some(Err(status)),
            }
        }
    }

    /// Finished samples first: when everything is ready, what was drawn gets out before anything else is looked at.
    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            event = self.events.recv() => event.map_or(Next::Complete, Next::Event),
            () = self.permit.cut() => {
                let why = "the worker went down before the group was finished";
                Next::Broken(JuryError::new(ErrorCode::ShuttingDown, why).into())
            }
            next = next_request(&mut self.requests) => next,
        }
    }
}

/// Waits for the caller to say something. Cancel-safe.
async fn next_request(requests: &mut Option<Streaming<v1::SampleRequest>>) -> Next {
    loop {
        let Some(open) = requests else { return pending().await };
        match open.message().await {
            Ok(Some(request)) => match request.message {
                Some(v1::sample_request::Message::Cancel(cancel)) => return Next::Cancel(cancel),
                Some(v1::sample_request::Message::Start(_)) => {
                    let problem = "must be sent once, as the first message";
                    return Next::Confused(JuryError::invalid("start", problem));
                }
                None => {} // a message of a later version
            },
            Ok(None) => *requests = None,
            Err(status) => return Next::Broken(status),
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
