//! One call to one worker: sends a group, returns its events in domain terms, and meanwhile cancels, by message,
//! samples that are no longer wanted.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jury_fabric::trace;
use jury_fabric::transport::Channel;
use jury_grm::domain::{Failure, Sample};
use jury_grm::prompt::Message;
use jury_proto::convert::{SampleGroup, TooLarge, TooLong};
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::v1::{self, sample_request, sample_response};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::Span;

use super::CallId;

/// What a call asks for.
#[derive(Debug)]
pub(super) struct Order {
    /// The group, without its prompt.
    pub(super) group: SampleGroup,
    /// The prompt, shared by all calls of its order; added to the group when the call is sent.
    pub(super) prompt: Arc<[Message]>,
}

/// An event of a call.
#[derive(Debug)]
pub(super) enum CallEvent {
    /// A message from the worker.
    Message {
        /// Its content; `None` if this version does not know it.
        told: Option<Told>,
        /// The worker's load.
        load: Option<v1::Load>,
    },
    /// Nothing more will come.
    Ended(CallEnd),
}

/// The content of a worker's message.
#[derive(Debug)]
pub(super) enum Told {
    /// The prompt fits, and drawing has started.
    Accepted {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens that were in the KV cache.
        cached_tokens: u32,
    },
    /// The prompt is longer than the model's context.
    TooLong(TooLong),
    /// The group does not fit this worker's memory.
    TooLarge(TooLarge),
    /// The worker has no room now.
    Busy(Duration),
    /// Progress of a sample.
    Progress {
        /// Its index.
        index: u32,
        /// Tokens so far.
        tokens: u32,
    },
    /// A sample ran to its own end.
    Finished(Box<Sample>),
    /// The worker gave up on a sample.
    Failed {
        /// Its index.
        index: u32,
        /// Why.
        failure: Failure,
    },
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum CallEnd {
    /// The worker closed the stream.
    Complete,
    /// The worker never accepted it: nothing has started.
    Refused(JuryError),
    /// It broke.
    Broken(JuryError),
}

/// Cancels samples of an open call.
#[derive(Debug)]
pub(super) struct Canceller(mpsc::Sender<v1::SampleRequest>);

/// The events of one call; dropping them drops the call.
pub(super) type CallEvents = BoxStream<'static, (CallId, CallEvent)>;

enum State {
    Opening(Box<Opening>),
    Open(Box<Open>),
    Over,
}

struct Open {
    responses: Streaming<v1::SampleResponse>,
    /// Ends with the call.
    _span: Span,
}

struct Opening {
    worker_id: Arc<str>,
    client: SamplingServiceClient<Channel>,
    order: Order,
    cancels: mpsc::Receiver<v1::SampleRequest>,
}

/// Opens a call when its events are first polled, inside the caller's span.
pub(super) fn open(
    call: CallId,
    worker_id: Arc<str>,
    channel: Channel,
    order: Order,
) -> (Canceller, CallEvents) {
    let client = SamplingServiceClient::new(channel)
        .max_decoding_message_size(jury_fabric::transport::MAX_MESSAGE_BYTES);
    // An attempt is cancelled at most once, so there is always room.
    let (requests, cancels) = mpsc::channel(order.group.samples.len().max(1));
    let opening = State::Opening(Box::new(Opening { worker_id, client, order, cancels }));
    let events = stream::unfold(opening, move |state| async move {
        let (event, next) = advance(state).await?;
        Some(((call, event), next))
    });
    (Canceller(requests), events.boxed())
}

// === impl Canceller ===

impl Canceller {
    /// Tells the worker that these samples are no longer wanted. Does nothing if the call has ended.
    pub(super) fn cancel(&self, indices: Vec<u32>) {
        let message = sample_request::Message::Cancel(v1::CancelSamples { indices });
        drop(self.0.try_send(v1::SampleRequest { message: Some(message) }));
    }
}

// === private ===

async fn advance(state: State) -> Option<(CallEvent, State)> {
    let mut open = match state {
        State::Opening(opening) => {
            let Opening { worker_id, mut client, order, cancels } = *opening;
            let span = trace::client_span("jury.v1.SamplingService/Sample");
            span.record("worker_id", &*worker_id);
            span.record("samples", order.group.samples.len() as i64);
            let place = trace::Place::of(&span);
            let start = stream::once(async move { start(order) });
            let requests = start.chain(ReceiverStream::new(cancels));
            match client.sample(place.outgoing(requests)).await {
                Ok(response) => Box::new(Open { responses: response.into_inner(), _span: span }),
                Err(status) => {
                    let refused = CallEnd::Refused(status.into());
                    return Some((CallEvent::Ended(refused), State::Over));
                }
            }
        }
        State::Open(open) => open,
        State::Over => return None,
    };
    let end = match open.responses.message().await {
        Ok(Some(response)) => match read(response) {
            Ok(event) => return Some((event, State::Open(open))),
            Err(error) => CallEnd::Broken(error),
        },
        Ok(None) => CallEnd::Complete,
        Err(status) => CallEnd::Broken(status.into()),
    };
    Some((CallEvent::Ended(end), State::Over))
}

/// The first message of a call. It copies the prompt's text, which calls share until here.
fn start(order: Order) -> v1::SampleRequest {
    let group = SampleGroup { messages: order.prompt.to_vec(), ..order.group };
    v1::SampleRequest { message: Some(sample_request::Message::Start(group.into())) }
}

fn read(response: v1::SampleResponse) -> Result<CallEvent, JuryError> {
    use sample_response::Event;
    let told = match response.event {
        // An unknown event is ignored, as the contract says.
        None => None,
        Some(Event::Accepted(accepted)) => Some(Told::Accepted {
            prompt_tokens: accepted.prompt_tokens,
            cached_tokens: accepted.cached_tokens,
        }),
        Some(Event::TooLong(too_long)) => Some(Told::TooLong(too_long.into())),
        Some(Event::TooLarge(too_large)) => Some(Told::TooLarge(too_large.into())),
        Some(Event::Busy(busy)) => {
            Some(Told::Busy(Duration::from_millis(busy.retry_after_ms.max(1).into())))
        }
        Some(Event::Progress(progress)) => {
            Some(Told::Progress { index: progress.index, tokens: progress.tokens })
        }
        Some(Event::Finished(sample)) => Some(Told::Finished(Box::new(sample.try_into()?))),
        Some(Event::Failed(failed)) => Some(Told::Failed {
            index: failed.index,
            failure: failed.failure.unwrap_or_default().into(),
        }),
    };
    Ok(CallEvent::Message { told, load: response.load })
}

/// A sentence with the numbers.
pub(super) fn describe(too_long: TooLong) -> String {
    let TooLong { prompt_tokens, limit_tokens, over_by, .. } = too_long;
    let mut detail = format!(
        "the prompt has {prompt_tokens} tokens, {over_by} over the limit of {limit_tokens}"
    );
    if let Some(index) = too_long.longest_response {
        let tokens = too_long.longest_response_tokens;
        detail += &format!("; the longest response is responses[{index}] with {tokens} tokens");
    }
    detail
}

/// True if the error means that the worker did not accept the call, rather than that it failed while drawing.
pub(crate) fn is_refusal(error: &JuryError) -> bool {
    matches!(
        error.code,
        ErrorCode::ShuttingDown
            | ErrorCode::WrongModel
            | ErrorCode::Overloaded
            | ErrorCode::Unauthenticated
    )
}
