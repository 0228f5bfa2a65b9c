//! Many items over one stream.
//!
//! ```text
//! requests -> window (bounded) -> connection -> answers, as they are ready
//!               ^                     |
//!               +--- sent again ------+   the connection was lost, or the item met overload
//! ```
//!
//! No task of its own: all of it runs while the caller awaits the next answer, and ends when the
//! caller drops the stream. The decisions are [`Window`]'s.

mod window;

use std::collections::VecDeque;
use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use jury_fabric::trace;
use jury_grm::domain::{ScoreRequest, Verdict};
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_proto::v1::score_stream_response::Result as Answer;
use jury_proto::{ErrorCode, JuryError, v1};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use self::window::Window;
use crate::client::verdict;
use crate::error::from_status;
use crate::request::Prepared;
use crate::{ClientConfig, ClientError};

/// One answer, with its request's place in the input.
type Answered = (u64, Result<Verdict, ClientError>);

/// The state of one stream.
pub(crate) struct Many {
    service: RewardServiceClient<Channel>,
    config: ClientConfig,
    requests: Pin<Box<dyn Stream<Item = ScoreRequest> + Send>>,
    /// True once `requests` is exhausted, or the caller no longer feeds it.
    requests_ended: bool,
    /// Place of the next request.
    next_sequence: u64,
    /// What is unanswered.
    window: Window,
    /// Made when there is something to send.
    connection: Option<Connection>,
    /// Answers that wait to be taken.
    ready: VecDeque<Answered>,
}

struct Connection {
    /// As wide as the window, so sending never waits: what is in it is unanswered.
    outgoing: mpsc::Sender<v1::ScoreStreamRequest>,
    incoming: tonic::Streaming<v1::ScoreStreamResponse>,
}

/// What happened next.
enum Event {
    Request(Option<ScoreRequest>),
    Message(Result<Option<v1::ScoreStreamResponse>, tonic::Status>),
    /// An item became due, or its deadline passed.
    Alarm,
}

// === impl Many ===

impl Many {
    pub fn new<S>(service: RewardServiceClient<Channel>, config: ClientConfig, requests: S) -> Self
    where
        S: Stream<Item = ScoreRequest> + Send + 'static,
    {
        Self {
            service,
            requests: Box::pin(requests),
            requests_ended: false,
            next_sequence: 0,
            window: Window::new(config.retry.clone()),
            connection: None,
            ready: VecDeque::new(),
            config,
        }
    }

    pub fn into_stream(self) -> impl Stream<Item = Answered> + Send {
        stream::unfold(self, |mut many| async move {
            many.next().await.map(|answered| (answered, many))
        })
    }

    async fn next(&mut self) -> Option<Answered> {
        loop {
            self.ready.extend(self.window.expire(Instant::now()));
            if let Some(answered) = self.ready.pop_front() {
                return Some(answered);
            }
            if self.requests_ended && self.window.is_empty() {
                return None;
            }
            if let Err(error) = self.send_due().await {
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
                Event::Alarm => {}
            }
        }
    }

    async fn event(&mut self) -> Event {
        let has_room = self.window.len() < self.config.stream_window.max(1);
        let alarm = self.window.next_alarm();
        tokio::select! {
            // Answers first: they make room.
            biased;
            message = next_message(&mut self.connection) => Event::Message(message),
            () = until(alarm) => Event::Alarm,
            request = self.requests.next(), if has_room && !self.requests_ended => Event::Request(request),
        }
    }

    fn take(&mut self, request: ScoreRequest) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let now = Instant::now();
        match Prepared::new(request, &self.config, now) {
            Ok(prepared) => self.window.add(sequence, prepared, now),
            Err(error) => self.ready.push_back((sequence, Err(error))),
        }
    }

    /// Sends every item whose time has come; connects first if need be.
    async fn send_due(&mut self) -> Result<(), JuryError> {
        let now = Instant::now();
        if !self.window.has_due(now) {
            return Ok(());
        }
        if let Some(connection) = &self.connection {
            for message in self.window.take_due(now) {
                connection.send(message);
            }
            return Ok(());
        }
        let (outgoing, messages) = mpsc::channel(self.config.stream_window.max(1));
        // A service may wait for the first message before it answers at all: so send, then open.
        for message in self.window.take_due(now) {
            drop(outgoing.try_send(message));
        }
        let open = self.service.score_stream(trace::outgoing(ReceiverStream::new(messages)));
        let earliest_deadline = self.window.earliest_deadline().unwrap_or(now);
        let incoming = match timeout_at(earliest_deadline, open).await {
            Ok(opened) => opened.map_err(from_status)?.into_inner(),
            Err(_elapsed) => {
                let message = "the service did not open the stream in time";
                return Err(JuryError::new(ErrorCode::Unreachable, message));
            }
        };
        self.connection = Some(Connection { outgoing, incoming });
        Ok(())
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
            None => verdict(None),
        };
        let now = Instant::now();
        // An answer nobody waits for comes after its deadline, or twice: it is dropped.
        let answered = self.window.answered(sequence, outcome, now, rand::random());
        self.ready.extend(answered);
    }
}

// === impl Connection ===

impl Connection {
    /// A closed connection shows when it is read next; the item stays in the window until then.
    fn send(&self, message: v1::ScoreStreamRequest) {
        drop(self.outgoing.try_send(message));
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

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
