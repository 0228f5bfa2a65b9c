//! One call at a time; streams are [`crate::many`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::Stream;
use jury_fabric::{trace, transport};
use jury_grm::domain::{Progress, ScoreRequest, Verdict};
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_proto::v1::score_with_progress_response::Event;
use jury_proto::{ErrorCode, JuryError, v1};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tracing::Span;

use crate::error::{deadline_exceeded, from_status};
use crate::many::Many;
use crate::request::Prepared;
use crate::retry::Attempt;
use crate::token::Bearer;
use crate::{ClientConfig, ClientError, FleetStatus, RetryPolicy};

/// Calls that bring the client's token, if it has one.
pub(crate) type Service = RewardServiceClient<InterceptedService<Channel, Bearer>>;

/// Calls one coordinator. Cloning is cheap and shares the connection.
#[derive(Debug, Clone)]
pub struct Client {
    service: Service,
    config: ClientConfig,
    heard_from: HeardFrom,
}

/// Whether the service has ever answered; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeardFrom(Arc<AtomicBool>);

/// One call and its attempts so far.
struct Attempts<'a> {
    prepared: Prepared,
    n_failed: u32,
    retry: &'a RetryPolicy,
    heard_from: &'a HeardFrom,
}

// === impl Client ===

impl Client {
    /// A client over `channel`; nothing is sent yet.
    pub fn new(channel: Channel, config: ClientConfig) -> Self {
        let service = RewardServiceClient::with_interceptor(channel, Bearer(config.token.clone()))
            .max_decoding_message_size(transport::MAX_MESSAGE_BYTES);
        Self { service, config, heard_from: HeardFrom::default() }
    }

    /// Judges one item. Dropping the future cancels the call, and the samples with it.
    ///
    /// The verdict may be PARTIAL or UNSCORED; a reward that is not there is `None`, never 0.
    ///
    /// # Errors
    /// [`ClientError`] when there is no verdict: the request is malformed, or the service could
    /// not be reached, or refused, or did not answer within budget and grace.
    pub async fn score(&self, request: ScoreRequest) -> Result<Verdict, ClientError> {
        let mut attempts = self.attempts(request)?;
        loop {
            match self.attempt(&attempts.prepared).await {
                Ok(verdict) => return Ok(attempts.succeeded(verdict)),
                Err(error) => attempts.failed(error).await?,
            }
        }
    }

    /// The same, and calls `on_progress` whenever the coordinator tells how far it is. Steps are left out where the
    /// connection or `on_progress` is slow; a call that is tried again begins anew.
    ///
    /// # Errors
    /// As [`Self::score`].
    pub async fn score_with_progress(
        &self,
        request: ScoreRequest,
        mut on_progress: impl FnMut(Progress) + Send,
    ) -> Result<Verdict, ClientError> {
        let mut attempts = self.attempts(request)?;
        loop {
            match self.attempt_with_progress(&attempts.prepared, &mut on_progress).await {
                Ok(verdict) => return Ok(attempts.succeeded(verdict)),
                Err(error) => attempts.failed(error).await?,
            }
        }
    }

    /// Judges many items; answers come as they are ready, out of order.
    ///
    /// An answer is numbered by its request's place in `requests`, from 0; each request is
    /// answered exactly once. As many requests are unanswered at a time as [`ClientConfig::in_flight`]
    /// says, and no more than that are taken from `requests`; the budget of each runs from when it is taken. A lost connection is made anew and
    /// what is unanswered sent again under its request id. An error concerns one item, and the
    /// stream goes on: a caller that sees [`ErrorCode::Unreachable`] may want to stop. Dropping
    /// the stream cancels what is in flight.
    pub fn score_many<S>(
        &self,
        requests: S,
    ) -> impl Stream<Item = (u64, Result<Verdict, ClientError>)> + Send + use<S>
    where
        S: Stream<Item = ScoreRequest> + Send + 'static,
    {
        self.many(requests).into_stream()
    }

    /// The same, with progress of every item: `on_progress` gets the place of the request, too.
    pub fn score_many_with_progress<S, F>(
        &self,
        requests: S,
        on_progress: F,
    ) -> impl Stream<Item = (u64, Result<Verdict, ClientError>)> + Send + use<S, F>
    where
        S: Stream<Item = ScoreRequest> + Send + 'static,
        F: FnMut(u64, Progress) + Send + 'static,
    {
        self.many(requests).with_progress(Box::new(on_progress)).into_stream()
    }

    fn many<S>(&self, requests: S) -> Many
    where
        S: Stream<Item = ScoreRequest> + Send + 'static,
    {
        Many::new(self.service.clone(), self.config.clone(), self.heard_from.clone(), requests)
    }

    fn attempts(&self, request: ScoreRequest) -> Result<Attempts<'_>, ClientError> {
        let prepared = Prepared::new(request, &self.config, Instant::now())?;
        Ok(Attempts {
            prepared,
            n_failed: 0,
            retry: &self.config.retry,
            heard_from: &self.heard_from,
        })
    }

    /// The fleet and the load.
    ///
    /// # Errors
    /// [`ClientError`] when the coordinator cannot be reached within
    /// [`ClientConfig::status_timeout`]. Tried once.
    pub async fn status(&self) -> Result<FleetStatus, ClientError> {
        let patience = self.config.status_timeout;
        let deadline = Instant::now() + patience;
        let mut request = trace::outgoing(v1::GetStatusRequest {});
        request.set_timeout(patience);
        let mut service = self.service.clone();
        let answer =
            timeout_at(deadline, service.get_status(request)).await.map_err(|_elapsed| {
                let message = format!("no answer within {} s", patience.as_secs_f64());
                ClientError::after(1, JuryError::new(ErrorCode::DeadlineExceeded, message))
            })?;
        answer
            .map(|status| {
                self.heard_from.set();
                status.into_inner().into()
            })
            .map_err(|status| ClientError::after(1, from_status(status)))
    }

    async fn attempt(&self, prepared: &Prepared) -> Result<Verdict, JuryError> {
        let message = prepared.message.clone();
        let (_span, request) = attempt_of("jury.v1.RewardService/Score", message, prepared);
        let mut service = self.service.clone();
        let answer = in_time(prepared, service.score(request)).await?;
        verdict(answer.into_inner().verdict)
    }

    async fn attempt_with_progress(
        &self,
        prepared: &Prepared,
        on_progress: &mut impl FnMut(Progress),
    ) -> Result<Verdict, JuryError> {
        let message = v1::ScoreWithProgressRequest { request: Some(prepared.message.clone()) };
        let rpc = "jury.v1.RewardService/ScoreWithProgress";
        let (_span, request) = attempt_of(rpc, message, prepared);
        let mut service = self.service.clone();
        let told = async {
            let mut events = service.score_with_progress(request).await?.into_inner();
            while let Some(told) = events.message().await? {
                match told.event {
                    Some(Event::Progress(progress)) => on_progress(progress.into()),
                    Some(Event::Verdict(verdict)) => return Ok(Some(verdict)),
                    // A newer service tells more.
                    None => {}
                }
            }
            Ok(None)
        };
        verdict(in_time(prepared, told).await?)
    }
}

// === impl HeardFrom ===

impl HeardFrom {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Attempts ===

impl Attempts<'_> {
    fn succeeded(&self, verdict: Verdict) -> Verdict {
        self.heard_from.set();
        verdict
    }

    /// Waits until it is time for the next attempt, or ends with the error of the last.
    async fn failed(&mut self, error: JuryError) -> Result<(), ClientError> {
        self.n_failed += 1;
        let attempts = self.n_failed;
        let time_left = self.prepared.deadline - Instant::now();
        if is_answer(&error) {
            self.heard_from.set();
        }
        let answered_before = self.heard_from.is_set();
        let attempt = Attempt { error: &error, attempts, time_left, answered_before };
        let Some(delay) = self.retry.delay(attempt, rand::random()) else {
            return Err(ClientError::after(attempts, error));
        };
        tracing::debug!(attempts, ?delay, %error, "call is tried again");
        sleep(delay).await;
        Ok(())
    }
}

/// True when a coordinator said it, and not the way to it.
fn is_answer(error: &JuryError) -> bool {
    !matches!(
        error.code,
        ErrorCode::Unreachable
            | ErrorCode::WrongService
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Cancelled
            | ErrorCode::Internal
    )
}

/// What an attempt is answered with before its deadline.
async fn in_time<T>(
    prepared: &Prepared,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, JuryError> {
    let late = || deadline_exceeded(prepared.patience);
    match timeout_at(prepared.deadline, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        // The transport's own timer may fire a moment before ours, under another code.
        Ok(Err(_)) if Instant::now() >= prepared.deadline => Err(late()),
        Ok(Err(status)) => Err(from_status(status)),
        Err(_elapsed) => Err(late()),
    }
}

/// Reads the verdict of an answer.
pub(crate) fn verdict(verdict: Option<v1::Verdict>) -> Result<Verdict, JuryError> {
    let unreadable = |problem: &str| {
        let message = format!("the service's answer cannot be read: {problem}");
        JuryError::new(ErrorCode::Internal, message)
    };
    let verdict = verdict.ok_or_else(|| unreadable("it has no verdict"))?;
    verdict.try_into().map_err(|error: JuryError| unreadable(&error.message))
}

/// One attempt's request, which carries its own end, and the span that lasts as long as the attempt.
fn attempt_of<T>(rpc: &'static str, message: T, prepared: &Prepared) -> (Span, tonic::Request<T>) {
    let span = trace::client_span(rpc);
    let mut request = trace::Place::of(&span).outgoing(message);
    request.set_timeout(prepared.deadline - Instant::now());
    (span, request)
}
