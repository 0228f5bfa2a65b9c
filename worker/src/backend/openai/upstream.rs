//! An upstream as samples see it: how it is asked, how often, and what it has done.

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

/// Times that a request is sent at most.
const MAX_TRIES: u32 = 3;
/// Waits between two tries: up to this, then up to twice that.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What ends a stream.
const DONE: &str = "[DONE]";

/// What every sample of a backend shares.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) http: Http,
    pub(super) flavour: Flavour,
    /// The model's name there.
    pub(super) model: String,
    /// Of its model; `None`: it takes our prompts as text.
    pub(super) tokenizer: Option<Tokenizer>,
    /// Most tokens of prompt and generation together.
    pub(super) context_tokens: u32,
    /// Tokens of thoughts that a sample may have beside its critique.
    pub(super) max_thinking_tokens: u32,
    /// Whether answers begin inside a thought, as far as no tokenizer tells.
    pub(super) opens_thought: bool,
    /// Likeliest tokens whose probabilities it tells; 0: none.
    pub(super) listed: u32,
    /// Whether it tells the probabilities of named tokens.
    pub(super) tells_named: bool,
    /// Requests that may be open at once.
    pub(super) places: Arc<Semaphore>,
    /// Events that have come from it; grows while it works.
    pub(super) progress: AtomicU64,
    /// What the monitor saw of it.
    pub(super) seen: Arc<Seen>,
}

/// A stream of answers.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    stream: Stream,
    upstream: &'a Upstream,
    /// When its text last grew; at first, when it was asked for.
    grew: Instant,
    /// Whether anything came since.
    is_heard: bool,
}

// === impl Upstream ===

impl Upstream {
    /// Asks for an answer that comes piece by piece.
    pub(super) async fn stream(&self, ask: &Ask<'_>) -> Result<Answers<'_>, UpstreamError> {
        let stream = self.http.post_stream(ask.path(), &ask.body()).await?;
        Ok(Answers { stream, upstream: self, grew: Instant::now(), is_heard: false })
    }

    /// Asks for an answer in one piece.
    pub(super) async fn answer(&self, ask: &Ask<'_>) -> Result<Answer, UpstreamError> {
        let text = self.http.post(ask.path(), &ask.body()).await?;
        self.moved();
        answer::read(&text)
    }

    fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tries again what may do better, after a while of its own: samples that failed together do not come back together.
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
    /// Anything else that it says, an end without such a word, and events without any text for as long as a silence may last.
    pub(super) async fn next(&mut self) -> Result<Option<Answer>, UpstreamError> {
        let stall = self.upstream.http.stall();
        match timeout_at(self.grew + stall, self.answer()).await {
            Ok(answer) => answer,
            Err(_) if self.is_heard => Err(UpstreamError::Stuck(stall)),
            Err(_) => Err(UpstreamError::Stalled(stall)),
        }
    }

    /// What came last held text. Whoever reads tells, since events look alike.
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
