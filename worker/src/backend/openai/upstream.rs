//! The upstream as shared by samples: how it is called, how often, and what it has sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jury_engine::Tokenizer;
use jury_fabric::backoff::Backoff;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::error::UpstreamError;
use super::flavour::Flavour;
use super::http::{Http, Stream};
use super::monitor::Seen;
use super::sse::Event;

/// Maximum number of times that a request is sent.
const MAX_TRIES: u32 = 3;
/// Waits between two tries: at most this, then at most twice that.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What ends a stream.
const DONE: &str = "[DONE]";

/// What all samples of a backend share.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) http: Http,
    pub(super) flavour: Flavour,
    /// The model's name at the upstream.
    pub(super) model: String,
    /// The model's tokenizer; `None`: prompts are sent as text.
    pub(super) tokenizer: Option<Tokenizer>,
    /// Maximum tokens of prompt and generation together.
    pub(super) context_tokens: u32,
    /// Thought tokens that a sample may have in addition to its critique.
    pub(super) max_thinking_tokens: u32,
    /// Whether answers begin inside a thought, unless a tokenizer determines it.
    pub(super) opens_thought: bool,
    /// How many of the likeliest tokens it reports probabilities for; 0: none.
    pub(super) listed: u32,
    /// Whether it reports the probabilities of named tokens.
    pub(super) tells_named: bool,
    /// Maximum open requests.
    pub(super) places: Arc<Semaphore>,
    /// Events received from it; grows while it works.
    pub(super) progress: AtomicU64,
    /// The monitor's results.
    pub(super) seen: Arc<Seen>,
}

/// A stream of answers.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    stream: Stream,
    upstream: &'a Upstream,
    /// When its text last grew; initially, when the request was sent.
    grew: Instant,
    /// Whether anything has arrived since.
    is_heard: bool,
}

// === impl Upstream ===

impl Upstream {
    /// Requests an answer that is streamed.
    pub(super) async fn stream(&self, ask: &Ask<'_>) -> Result<Answers<'_>, UpstreamError> {
        let stream = self.http.post_stream(ask.path(), &ask.body()).await?;
        Ok(Answers { stream, upstream: self, grew: Instant::now(), is_heard: false })
    }

    /// Requests an answer in one piece.
    pub(super) async fn answer(&self, ask: &Ask<'_>) -> Result<Answer, UpstreamError> {
        let text = self.http.post(ask.path(), &ask.body()).await?;
        self.moved();
        answer::read(&text)
    }

    fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// Retries what may succeed on a retry, after a random wait, so that samples that failed together do not return
/// together.
pub(super) async fn tries<T, Tried>(mut attempt: impl FnMut() -> Tried) -> Result<T, UpstreamError>
where
    Tried: Future<Output = Result<T, UpstreamError>>,
{
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut tried = 0;
    loop {
        tried += 1;
        match attempt().await {
            Err(error) if error.is_transient() && tried < MAX_TRIES => {
                tracing::debug!(%error, tried, "upstream is asked again");
                let asked = error.retry_after().unwrap_or_default().min(LONGEST_WAIT);
                tokio::time::sleep(asked + backoff.next_wait(rand::random())).await;
            }
            ended => return ended,
        }
    }
}

// === impl Answers ===

impl Answers<'_> {
    /// The next answer; `None` when the upstream has said that it is done.
    ///
    /// # Errors
    /// Any other message, an end without that message, and events without text for as long as a silence may last.
    pub(super) async fn next(&mut self) -> Result<Option<Answer>, UpstreamError> {
        let stall = self.upstream.http.stall();
        match timeout_at(self.grew + stall, self.answer()).await {
            Ok(answer) => answer,
            Err(_) if self.is_heard => Err(UpstreamError::Stuck(stall)),
            Err(_) => Err(UpstreamError::Stalled(stall)),
        }
    }

    /// Records that the last event contained text. The reader must say so, since events look alike.
    pub(super) fn text_grew(&mut self) {
        (self.grew, self.is_heard) = (Instant::now(), false);
    }

    async fn answer(&mut self) -> Result<Option<Answer>, UpstreamError> {
        loop {
            let event = self.stream.next().await?;
            self.upstream.moved();
            self.is_heard = true;
            return match event {
                None => Err(UpstreamError::Cut),
                Some(Event::Comment) => continue,
                Some(Event::Data(data)) if data == DONE => Ok(None),
                Some(Event::Data(data)) => answer::read(&data).map(Some),
                Some(Event::Foreign(line)) => {
                    let line = super::error::excerpt(&line);
                    Err(UpstreamError::Malformed(format!("a line of its stream is {line:?}")))
                }
            };
        }
    }
}
