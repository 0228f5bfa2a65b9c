//! One call to one worker: a group on a stream, its events put into domain terms.

use std::time::Duration;

use jury_fabric::transport::Channel;
use jury_grm::domain::{Failure, Sample};
use jury_proto::convert::{SampleGroup, TooLong};
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::v1::{self, sample_request, sample_response::Event};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::mpsc;

use super::CallId;

/// What a call tells.
#[derive(Debug)]
pub(super) enum CallEvent {
    /// The worker's load.
    Load(v1::Load),
    /// The prompt fits.
    Accepted {
        /// Tokens that were in the KV cache.
        cached_tokens: u32,
    },
    /// The prompt does not fit; a sentence with the figures.
    TooLong(String),
    /// How far a sample is.
    Progress {
        /// Its index.
        index: u32,
        /// Tokens so far.
        tokens: u32,
    },
    /// A sample came to its end.
    Finished(Box<Sample>),
    /// The worker gave a sample up.
    Failed {
        /// Its index.
        index: u32,
        /// Why.
        failure: Failure,
    },
    /// Nothing more will come.
    Ended(CallEnd),
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum CallEnd {
    /// The worker closed the stream.
    Complete,
    /// The worker had no room.
    Busy(Duration),
    /// The call broke.
    Lost(JuryError),
}

/// Runs the call; always ends with [`CallEvent::Ended`] unless nobody listens any more.
pub(super) async fn run(
    call: CallId,
    channel: Channel,
    group: SampleGroup,
    events: mpsc::Sender<(CallId, CallEvent)>,
) {
    let end = match follow(call, channel, group, &events).await {
        Ok(end) => end,
        Err(error) => CallEnd::Lost(error),
    };
    // The job may have ended meanwhile; then nobody needs to know.
    drop(events.send((call, CallEvent::Ended(end))).await);
}

async fn follow(
    call: CallId,
    channel: Channel,
    group: SampleGroup,
    events: &mpsc::Sender<(CallId, CallEvent)>,
) -> Result<CallEnd, JuryError> {
    let start = v1::SampleRequest { message: Some(sample_request::Message::Start(group.into())) };
    let request = jury_fabric::trace::outgoing(tokio_stream::once(start));
    let mut client = SamplingServiceClient::new(channel)
        .max_decoding_message_size(jury_fabric::transport::MAX_MESSAGE_BYTES);
    let mut responses = client.sample(request).await?.into_inner();
    while let Some(response) = responses.message().await? {
        if let Some(load) = response.load {
            tell(events, call, CallEvent::Load(load)).await?;
        }
        // An event that this version does not know is ignored, as the contract says.
        let Some(event) = response.event else { continue };
        let told = match event {
            Event::Accepted(accepted) => {
                CallEvent::Accepted { cached_tokens: accepted.cached_tokens }
            }
            Event::TooLong(too_long) => CallEvent::TooLong(describe(too_long.into())),
            Event::TooLarge(too_large) => CallEvent::TooLong(format!(
                "one sample needs {} tokens of KV cache, the worker has room for {}",
                too_large.needed_tokens, too_large.room_tokens
            )),
            Event::Busy(busy) => {
                let retry_after = Duration::from_millis(busy.retry_after_ms.max(1).into());
                return Ok(CallEnd::Busy(retry_after));
            }
            Event::Progress(progress) => {
                CallEvent::Progress { index: progress.index, tokens: progress.tokens }
            }
            Event::Finished(sample) => CallEvent::Finished(Box::new(sample.try_into()?)),
            Event::Failed(failed) => CallEvent::Failed {
                index: failed.index,
                failure: failed.failure.unwrap_or_default().into(),
            },
        };
        tell(events, call, told).await?;
    }
    Ok(CallEnd::Complete)
}

async fn tell(
    events: &mpsc::Sender<(CallId, CallEvent)>,
    call: CallId,
    event: CallEvent,
) -> Result<(), JuryError> {
    let gone = |_| JuryError::new(ErrorCode::Cancelled, "the request has ended");
    events.send((call, event)).await.map_err(gone)
}

fn describe(too_long: TooLong) -> String {
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
