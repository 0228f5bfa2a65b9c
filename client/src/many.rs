//! Many items over one stream.
//!
//! ```text
//! requests -> window (bounded) -> connection -> answers, as they are ready
//!               ^                     |
//!               +--- sent again ------+   the connection was lost, or the item met overload
//! ```
//!
//! How wide the window is, [`Pace`] decides. An item leaves it for the connection only when there is room: one that
//! waits is not sent, whatever happens to those before it.
//!
//! No task of its own: all of it runs while the caller awaits the next answer, and ends when the
//! caller drops the stream. The decisions are [`Window`]'s.

mod pace;
mod window;

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use jury_fabric::trace;
use jury_grm::domain::{Progress, ReasonCode, ScoreRequest, Settings, StoppedBy, Verdict};
use jury_proto::v1::score_stream_response::Result as Answer;
use jury_proto::{ErrorCode, JuryError, v1};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tracing::Span;

use self::pace::{Pace, Took};
use self::window::Window;
use crate::client::verdict;
use crate::client::{HeardFrom, Service};
use crate::error::from_status;
use crate::request::Prepared;
use crate::{ClientConfig, ClientError, FleetStatus};

/// One answer, with its request's place in the input.
pub(crate) type ItemAnswer = (u64, Result<Verdict, ClientError>);

/// Hears how far each item is.
type OnProgress = Box<dyn FnMut(u64, Progress) + Send>;

/// How often the coordinator is asked for its fleet while items are in flight: workers come and go.
const FLEET_EVERY: Duration = Duration::from_secs(10);

/// The state of one stream.
pub(crate) struct Many {
    service: Service,
    config: ClientConfig,
    requests: Pin<Box<dyn Stream<Item = ScoreRequest> + Send>>,
    /// True once `requests` is exhausted, or the caller no longer feeds it.
    requests_ended: bool,
    /// Place of the next request.
    next_sequence: u64,
    /// What is unanswered.
    window: Window,
    /// How much may be.
    pace: Pace,
    /// What the coordinator last told of its fleet.
    fleet: Option<FleetStatus>,
    /// The next time that it is asked.
    asking: BoxFuture<'static, Option<FleetStatus>>,
    /// Who wants to know how far items are.
    on_progress: Option<OnProgress>,
    /// Made when there is something to send.
    connection: Option<Connection>,
    /// Answers that wait to be taken.
    ready: VecDeque<ItemAnswer>,
}

struct Connection {
    outgoing: mpsc::Sender<v1::ScoreStreamRequest>,
    incoming: tonic::Streaming<v1::ScoreStreamResponse>,
    /// Lasts as long as the connection.
    _span: Span,
}

/// What happened next.
enum Event {
    Request(Option<ScoreRequest>),
    Message(Result<Option<v1::ScoreStreamResponse>, tonic::Status>),
    /// The connection has room for an item; `None` when it is closed.
    Room(Option<mpsc::OwnedPermit<v1::ScoreStreamRequest>>),
    Fleet(Option<FleetStatus>),
    /// An item became due, or its deadline passed.
    Alarm,
}

// === impl Many ===

impl Many {
    pub fn new<S>(
        service: Service,
        config: ClientConfig,
        heard_from: HeardFrom,
        requests: S,
    ) -> Self
    where
        S: Stream<Item = ScoreRequest> + Send + 'static,
    {
        let pace = Pace::new(config.in_flight);
        let asking = match pace.adapts() {
            true => ask(service.clone(), Duration::ZERO, config.status_timeout),
            false => std::future::pending().boxed(),
        };
        Self {
            service,
            pace,
            fleet: None,
            asking,
            requests: Box::pin(requests),
            requests_ended: false,
            next_sequence: 0,
            window: Window::new(config.retry.clone(), heard_from),
            on_progress: None,
            connection: None,
            ready: VecDeque::new(),
            config,
        }
    }

    pub fn with_progress(self, on_progress: OnProgress) -> Self {
        Self { on_progress: Some(on_progress), ..self }
    }

    pub fn into_stream(self) -> impl Stream<Item = ItemAnswer> + Send {
        stream::unfold(self, |mut many| async move {
            many.next().await.map(|answered| (answered, many))
        })
    }

    async fn next(&mut self) -> Option<ItemAnswer> {
        loop {
            self.ready.extend(self.window.expire(Instant::now()));
            if let Some(answered) = self.ready.pop_front() {
                return Some(answered);
            }
            if self.requests_ended && self.window.is_empty() {
                return None;
            }
            if self.connection.is_none()
                && let Err(error) = self.connect().await
            {
                self.lose_connection(&error);
                continue;
            }
            match self.event().await {
                Event::Request(Some(request)) => self.take(request),
                Event::Request(None) => self.requests_ended = true,
                Event::Message(Ok(Some(message))) => self.answer(message),
                Event::Message(Ok(None)) => {
                    let message = "the service ended the stream";
                    self.lose_connection(&JuryError::new(ErrorCode::Unreachable, message));
                }
                Event::Message(Err(status)) => self.lose_connection(&from_status(status)),
                Event::Room(Some(room)) => self.send(room),
                Event::Room(None) => {
                    let message = "the service closed the stream";
                    self.lose_connection(&JuryError::new(ErrorCode::Unreachable, message));
                }
                Event::Fleet(fleet) => self.fleet_told(fleet),
                Event::Alarm => {}
            }
        }
    }

    async fn event(&mut self) -> Event {
        let now = Instant::now();
        let has_room = self.window.len() < self.pace.limit();
        let alarm = self.window.next_alarm(now);
        let outgoing = self.connection.as_ref().map(|connection| connection.outgoing.clone());
        let outgoing = outgoing.filter(|_| self.window.has_due(now));
        tokio::select! {
            // Answers first: they make room.
            biased;
            message = next_message(&mut self.connection) => Event::Message(message),
            room = room_in(outgoing) => Event::Room(room),
            fleet = &mut self.asking => Event::Fleet(fleet),
            () = until(alarm) => Event::Alarm,
            request = self.requests.next(), if has_room && !self.requests_ended => Event::Request(request),
        }
    }

    fn take(&mut self, request: ScoreRequest) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let now = Instant::now();
        if let Some(fleet) = &self.fleet {
            self.pace.fleet(fleet, request.settings.k, request.model.as_deref());
        }
        match Prepared::new(request, &self.config, now) {
            Ok(prepared) => self.window.add(sequence, prepared, now),
            Err(error) => self.ready.push_back((sequence, Err(error))),
        }
    }

    /// Opens a stream when an item is due.
    async fn connect(&mut self) -> Result<(), JuryError> {
        let now = Instant::now();
        let Some(first) = self.take_due(now) else { return Ok(()) };
        // Room for one: what is not sent yet stays in the window, where it can still expire.
        let (outgoing, messages) = mpsc::channel(1);
        // A service may wait for the first message before it answers at all: so send, then open.
        outgoing.try_send(first).expect("the channel is new");
        let span = trace::client_span("jury.v1.RewardService/ScoreStream");
        let request = trace::Place::of(&span).outgoing(ReceiverStream::new(messages));
        let open = self.service.score_stream(request);
        let earliest_deadline = self.window.earliest_deadline().unwrap_or(now);
        let incoming = match timeout_at(earliest_deadline, open).await {
            Ok(opened) => opened.map_err(from_status)?.into_inner(),
            Err(_elapsed) => {
                let message = "the service did not open the stream in time";
                return Err(JuryError::new(ErrorCode::Unreachable, message));
            }
        };
        self.window.service_is_there();
        self.connection = Some(Connection { outgoing, incoming, _span: span });
        Ok(())
    }

    /// Sends the first item whose time has come.
    fn send(&mut self, room: mpsc::OwnedPermit<v1::ScoreStreamRequest>) {
        if let Some(message) = self.take_due(Instant::now()) {
            room.send(message);
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<v1::ScoreStreamRequest> {
        let due = self.window.take_due(now)?;
        Some(v1::ScoreStreamRequest { with_progress: self.on_progress.is_some(), ..due })
    }

    fn fleet_told(&mut self, fleet: Option<FleetStatus>) {
        self.asking = ask(self.service.clone(), FLEET_EVERY, self.config.status_timeout);
        if fleet.is_some() {
            self.window.service_is_there();
        }
        self.fleet = fleet.or(self.fleet.take());
        if let (Some(fleet), Some(request)) = (&self.fleet, self.window.latest()) {
            let model = Some(request.model.as_str()).filter(|model| !model.is_empty());
            let samples = request.settings.as_ref().and_then(|settings| settings.k);
            self.pace.fleet(fleet, samples.unwrap_or(Settings::default().k), model);
        }
    }

    fn lose_connection(&mut self, error: &JuryError) {
        tracing::debug!(%error, unanswered = self.window.len(), "stream was lost");
        self.connection = None;
        let now = Instant::now();
        let given_up = self.window.connection_lost(error, now, rand::random());
        self.ready.extend(given_up);
    }

    fn answer(&mut self, message: v1::ScoreStreamResponse) {
        let sequence = message.sequence;
        let outcome = match message.result {
            Some(Answer::Verdict(answer)) => verdict(Some(answer)),
            Some(Answer::Error(error)) => Err(error.into()),
            Some(Answer::Progress(progress)) => {
                if let Some(on_progress) = &mut self.on_progress {
                    on_progress(sequence, progress.into());
                }
                return;
            }
            None => verdict(None),
        };
        let now = Instant::now();
        if self.paced(sequence, &outcome) && self.window.judge_again(sequence, now) {
            tracing::debug!(sequence, "the budget ended beside other items; judged once more");
            return;
        }
        // An answer nobody waits for comes after its deadline, or twice: it is dropped.
        let answered = self.window.answered(sequence, outcome, now, rand::random());
        self.ready.extend(answered);
    }

    /// Lets the pace know; true when the item got no reward because its budget ended beside others.
    fn paced(&mut self, sequence: u64, outcome: &Result<Verdict, JuryError>) -> bool {
        let Some((beside, budget)) = self.window.shared_by(sequence) else { return false };
        match outcome {
            Ok(verdict) => {
                let no_reward = reason_is_budget(verdict);
                self.pace.answered(Took {
                    total: Duration::from_millis(verdict.run.total_ms),
                    queued: Duration::from_millis(verdict.run.queue_ms),
                    budget,
                    ran_out: no_reward || verdict.stopped_by == StoppedBy::Budget,
                    beside,
                });
                no_reward && self.pace.adapts()
            }
            Err(error) => {
                if matches!(error.code, ErrorCode::Overloaded | ErrorCode::OverQuota) {
                    self.pace.refused(self.window.len());
                }
                false
            }
        }
    }
}

// === private ===

async fn next_message(
    connection: &mut Option<Connection>,
) -> Result<Option<v1::ScoreStreamResponse>, tonic::Status> {
    match connection {
        Some(connection) => connection.incoming.message().await,
        None => std::future::pending().await,
    }
}

fn reason_is_budget(verdict: &Verdict) -> bool {
    verdict.reasons.iter().flatten().any(|reason| reason.code == ReasonCode::Budget)
}

async fn room_in(
    outgoing: Option<mpsc::Sender<v1::ScoreStreamRequest>>,
) -> Option<mpsc::OwnedPermit<v1::ScoreStreamRequest>> {
    match outgoing {
        Some(outgoing) => outgoing.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}

/// The fleet, asked for after a while; a coordinator that does not tell it is asked again.
fn ask(
    mut service: Service,
    after: Duration,
    patience: Duration,
) -> BoxFuture<'static, Option<FleetStatus>> {
    async move {
        sleep(after).await;
        let asked = service.get_status(trace::outgoing(v1::GetStatusRequest {}));
        let told = timeout_at(Instant::now() + patience, asked).await.ok()?.ok()?;
        Some(told.into_inner().into())
    }
    .boxed()
}

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
