//! A scalar reward model on a server as a Meta RM: it scores conversations and draws nothing.
//!
//! ```text
//! rank ── seats? no ─> Overloaded
//!    └─ yes ─> conversations: our tokens, or turns ─> one request each (`endpoint`) ─> a score, or why not
//! ```
//!
//! Each trajectory is one request, so that each fails, ends and is cancelled alone. The first goes ahead, so that the
//! server has then read the prompt that all of them share. Dropping the future of a call closes its connections.
//!
//! Not promised: equal bits for equal trajectories.

mod endpoint;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::{FuturesUnordered, StreamExt};
use jury_engine::Tokenizer;
use jury_grm::domain::{Failure, FailureKind, Role};
use jury_grm::prompt::{Message, Span, Trust};
use jury_proto::convert::{RankRequest, Ranked, SampleGroup, WorkerRole};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::DropGuard;

use super::MAX_QUEUED;
use super::config::{ConnectError, OpenAiConfig};
use super::connect::{Reached, info, reach, watch_over};
use super::error::UpstreamError;
use super::http::Http;
use super::monitor::Seen;
use super::prompt::Prompt;
use super::upstream::tries;
use crate::backend::meta::{busy, stopped, tokenise};
use crate::backend::occupancy::{Occupancy, Seats};
use crate::backend::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use endpoint::{Endpoint, Scored};

/// A Meta RM on a server.
pub struct OpenAiMeta {
    info: BackendInfo,
    ranker: Arc<Ranker>,
    occupancy: Arc<Occupancy>,
    seen: Arc<Seen>,
    _watching: DropGuard,
}

/// What every call shares.
#[derive(Debug)]
struct Ranker {
    http: Http,
    endpoint: Endpoint,
    /// The model's name at the upstream.
    model: String,
    /// The model's tokenizer; `None`: conversations are sent as text.
    tokenizer: Option<Tokenizer>,
    /// Maximum tokens of a conversation.
    context_tokens: u32,
    /// Maximum open requests.
    places: Semaphore,
    /// Answers received from it; grows while it works.
    progress: AtomicU64,
}

/// A trajectory to be scored: the index of its sample, and what the server is shown.
type Conversation = (u32, Result<Prompt, Failure>);

// === impl OpenAiMeta ===

impl OpenAiMeta {
    /// Asks the upstream what it is, tests whether its scores can rank samples, and begins to monitor it. Waits up to
    /// two minutes for one that is not up yet. Must be called from within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub async fn connect(config: OpenAiConfig) -> Result<Self, ConnectError> {
        let Reached { http, tokenizer, found } = reach(&config).await?;
        let endpoint = Endpoint::find(&config.url, &found, &http, tokenizer.as_ref()).await?;
        let info = info(&config, &found, WorkerRole::Meta)?;
        tracing::info!(
            url = config.url,
            flavour = found.flavour.name(),
            model = found.model,
            numerics = info.numerics,
            endpoint = endpoint.path(),
            "upstream found"
        );
        let (seen, watching) = watch_over(&config, &http, &found);
        let ranker = Arc::new(Ranker {
            http,
            endpoint,
            model: found.model,
            tokenizer,
            context_tokens: info.context_tokens,
            places: Semaphore::new(info.capacity as usize),
            progress: AtomicU64::new(0),
        });
        let occupancy = Arc::new(Occupancy::new(info.capacity as usize, MAX_QUEUED));
        Ok(Self { info, ranker, occupancy, seen, _watching: watching })
    }
}

impl Backend for OpenAiMeta {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(&self) -> Load {
        self.seen.load(&self.occupancy, self.ranker.progress.load(Ordering::Relaxed))
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        let (handle, _) = GroupHandle::new(&group);
        events.fail_all(FailureKind::Worker, "a Meta RM draws no samples");
        handle
    }

    fn rank(&self, request: RankRequest) -> BoxFuture<'static, Result<Vec<Ranked>, JuryError>> {
        let refused = match self.seen.availability() {
            Availability::Up => None,
            Availability::Away(why) => Some((ErrorCode::Unreachable, why)),
            Availability::Dead(why) => Some((ErrorCode::Internal, why)),
        };
        if let Some((code, why)) = refused {
            return ready(Err(JuryError::new(code, &*why))).boxed();
        }
        let remaining = request.remaining_ms.map(Duration::from_millis);
        let deadline = remaining.and_then(|remaining| Instant::now().checked_add(remaining));
        let seats = self.occupancy.seat(request.trajectories.len());
        let ranker = self.ranker.clone();
        Box::pin(async move {
            let seats = seats.ok_or_else(busy)?;
            ranker.rank(request, deadline, seats).await
        })
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.seen.watch_availability()
    }
}

// === impl Ranker ===

impl Ranker {
    async fn rank(
        self: Arc<Self>,
        request: RankRequest,
        deadline: Option<Instant>,
        mut seats: Seats,
    ) -> Result<Vec<Ranked>, JuryError> {
        seats.begin();
        let (ranker, salt) = (self.clone(), request.cache_salt.clone());
        // The receiver is dropped with this future, so that tokenising ends early when the caller is gone.
        let (reply, _waits) = oneshot::channel();
        let prepare = move || ranker.conversations(&request, &reply);
        let conversations = tokio::task::spawn_blocking(prepare).await.map_err(|_| stopped())?;
        let mut ranked: Vec<Option<Ranked>> = vec![None; conversations.len()];
        let mut open = FuturesUnordered::new();
        for (place, conversation) in conversations.into_iter().enumerate() {
            let (ranker, salt, is_first) = (&self, salt.as_deref(), place == 0);
            let outcome = async move { (place, ranker.ranked(conversation, salt, deadline).await) };
            if is_first {
                ranked[place] = Some(outcome.await.1);
            } else {
                open.push(outcome);
            }
        }
        seats.keep(open.len());
        while let Some((place, outcome)) = open.next().await {
            ranked[place] = Some(outcome);
            seats.keep(open.len());
        }
        Ok(ranked.into_iter().flatten().collect())
    }

    async fn ranked(
        &self,
        (index, prompt): Conversation,
        salt: Option<&str>,
        deadline: Option<Instant>,
    ) -> Ranked {
        let neutralised = prompt.as_ref().is_ok_and(Prompt::is_neutralised);
        let score = async {
            let prompt = prompt?;
            self.check_length(&prompt)?;
            self.score(&prompt, salt).await.map_err(|error| {
                tracing::debug!(index, %error, "trajectory not ranked");
                Failure { kind: error.kind(), detail: error.to_string() }
            })
        };
        let outcome = match deadline {
            Some(deadline) => timeout_at(deadline, score).await.unwrap_or_else(|_| Err(late())),
            None => score.await,
        };
        Ranked { index, outcome, neutralised }
    }

    async fn score(&self, prompt: &Prompt, salt: Option<&str>) -> Result<f64, UpstreamError> {
        let Ok(_place) = self.places.acquire().await else {
            return Err(UpstreamError::Unreachable("the worker stops".to_owned()));
        };
        let mut body = self.endpoint.body(&self.model, prompt, endpoint::RAW);
        if let Some(salt) = salt.filter(|_| self.endpoint.takes_salts()) {
            body["cache_salt"] = salt.into();
        }
        let Scored { score, prompt_tokens } = tries(|| async {
            let text = self.http.post(self.endpoint.path(), &body).await?;
            self.progress.fetch_add(1, Ordering::Relaxed);
            self.endpoint.read(&text)
        })
        .await?;
        match (prompt.tokens(), prompt_tokens) {
            (Some(sent), Some(read)) if sent != read => {
                Err(UpstreamError::WrongPrompt { sent, read })
            }
            _ => Ok(score),
        }
    }

    fn check_length(&self, prompt: &Prompt) -> Result<(), Failure> {
        let (tokens, context) = (prompt.tokens().unwrap_or(0), self.context_tokens);
        if tokens <= context {
            return Ok(());
        }
        let detail = format!(
            "prompt and trajectory have {tokens} tokens, {} over the Meta RM's context of {context}",
            tokens - context
        );
        Err(Failure { kind: FailureKind::TooLong, detail })
    }

    fn conversations(
        &self,
        request: &RankRequest,
        reply: &oneshot::Sender<Vec<Ranked>>,
    ) -> Vec<Conversation> {
        if let Some(tokenizer) = &self.tokenizer {
            let tokenised = tokenise::conversations(tokenizer, request, reply).unwrap_or_default();
            let as_prompt =
                |said: tokenise::Conversation| (said.index, said.tokens.map(Prompt::Tokens));
            return tokenised.into_iter().map(as_prompt).collect();
        }
        let mut messages = request.messages.clone();
        let as_prompt = |said: &jury_proto::convert::Trajectory| {
            let span =
                Span { text: said.text.as_str().into(), trust: Trust::Untrusted, response: None };
            messages.push(Message { role: Role::Assistant, spans: vec![span] });
            let prompt = Prompt::turns(&messages);
            messages.pop();
            (said.index, Ok(prompt))
        };
        request.trajectories.iter().map(as_prompt).collect()
    }
}

fn late() -> Failure {
    let detail = "the call's time left was over before this trajectory was ranked".to_owned();
    Failure { kind: FailureKind::TimedOut, detail }
}
