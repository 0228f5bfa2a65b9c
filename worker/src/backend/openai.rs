//! A server with an OpenAI-compatible API as a backend: its model draws, we read; or it scores, and we rank ([`OpenAiMeta`]).
//!
//! ```text
//! connect   which server, which model, what can it do?                   (discover, flavour, ability)
//! start     seat? no -> Busy; is it down? -> failed at once
//!   group   tokenise, or neutralise special tokens (prompt, neutral); a task a sample
//!     draw  one streamed request -> text -> reading; guided: short requests for the scores (readout, slot)
//! monitor   does it live, how busy is it, is it still the same?
//! ```
//!
//! One sample is one request with its own seed: it streams, ends where its text ends, and is cancelled alone. Every answer is
//! checked before it is used (`answer`, `sse`): what is wrong fails the sample with a typed error, never with a number.
//!
//! Not promised: equal bytes for an equal sample. Servers batch as they like.

mod ability;
mod answer;
mod ask;
mod client;
mod discover;
mod draw;
mod error;
mod flavour;
mod group;
mod http;
mod meta;
mod monitor;
mod neutral;
mod prompt;
mod readout;
mod slot;
mod sse;
mod text;
mod too_long;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jury_engine::{LoadError, Tokenizer};
use jury_fabric::backoff::Backoff;
use jury_fabric::tls::ClientTls;
use jury_grm::domain::{FailureKind, Reproducible, limits};
use jury_proto::convert::{Capabilities, SampleGroup, WorkerRole};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::occupancy::Occupancy;
use super::{Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use discover::Found;
use http::Http;
use monitor::{Seen, Watched};
use upstream::Upstream;

pub use discover::Refusal;
pub use error::UpstreamError;
pub use flavour::Flavour;
pub use http::Unusable;
pub use meta::OpenAiMeta;
pub use monitor::metric;

/// Samples drawn at once where neither the operator nor the upstream names a number.
const CAPACITY: u32 = 32;
/// What a caller without a seat is told to wait.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long a server may take to come up: both are often started together, and large models load for minutes.
const COMES_UP_WITHIN: Duration = Duration::from_secs(120);
/// Waits between two tries meanwhile.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Samples that may wait for a place: two of the largest requests.
const MAX_QUEUED: usize = 2 * limits::MAX_K as usize;

/// Which upstream, and how it is used.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Its address, with or without `/v1`.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Whom an `https://` address must show a certificate of, and what is shown to it; `None`: as this machine trusts.
    pub tls: Option<ClientTls>,
    /// The model's name, by which requests ask for it.
    pub model: String,
    /// Its name at the upstream; `None`: the same.
    pub upstream_model: Option<String>,
    /// What kind of server it is, as the operator knows it; `None`: what it tells.
    pub flavour: Option<Flavour>,
    /// A GGUF file or a folder with the model's tokenizer; `None`: prompts are sent as text.
    pub tokenizer: Option<PathBuf>,
    /// SHA-256 of the model as the operator knows it, hex; `None`: a digest over what the upstream tells.
    pub model_digest: Option<String>,
    /// Most tokens of prompt and generation together; `None`: what the upstream tells.
    pub context_tokens: Option<u32>,
    /// Requests that may be open at once; `None`: what the upstream tells, else 32.
    pub capacity: Option<u32>,
    /// Tokens of thoughts that a sample may have beside its critique; 0: thoughts count as critique.
    pub max_thinking_tokens: u32,
    /// Whether the upstream's chat template opens a thought, which it then leaves in the text. With a tokenizer, its template
    /// tells.
    pub opens_thought: bool,
    /// Longest silence of a request.
    pub stall: Duration,
}

/// Why there is no backend.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address or the key.
    #[error("--url: {0}")]
    Unusable(#[from] Unusable),
    /// The tokenizer.
    #[error("--tokenizer: {0}")]
    Tokenizer(#[from] LoadError),
    /// The upstream.
    #[error("{url}: {refusal}")]
    Refused {
        /// Its address.
        url: String,
        /// Why.
        refusal: Refusal,
    },
    /// Nobody tells the context.
    #[error("{url}: the upstream does not tell its context; name it with --context-tokens")]
    NoContext {
        /// Its address.
        url: String,
    },
    /// It gives no scores that could rank.
    #[error("{url}: {why}")]
    NoScores {
        /// Its address.
        url: String,
        /// Why.
        why: String,
    },
    /// It takes no token ids.
    #[error(
        "{url}: no token ids can be sent to a server of an unknown kind; leave out --tokenizer"
    )]
    NoTokenPrompts {
        /// Its address.
        url: String,
    },
}

/// An upstream server as a backend.
pub struct OpenAiBackend {
    info: BackendInfo,
    upstream: Arc<Upstream>,
    occupancy: Arc<Occupancy>,
    seen: Arc<Seen>,
    death: watch::Receiver<Option<Arc<str>>>,
}

// === impl OpenAiBackend ===

impl OpenAiBackend {
    /// Asks the upstream what it is and begins to watch it. Waits up to two minutes for one that is not up yet. Must be
    /// called from within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub async fn connect(config: OpenAiConfig) -> Result<Self, ConnectError> {
        let Reached { http, tokenizer, found } = reach(&config).await?;
        let url = config.url.clone();
        let able = ability::try_out(&found, &http, tokenizer.as_ref()).await;
        let able = able.map_err(|refusal| ConnectError::Refused { url, refusal })?;
        let mut info = info(&config, &found, WorkerRole::Grm)?;
        info.capabilities = Capabilities {
            seeds: found.flavour != Flavour::Other,
            distributions: able.listed > 0,
            many_per_call: able.many_per_call,
            log_probabilities: able.log_probabilities,
            constrained_output: able.constrained_output,
            ..info.capabilities
        };
        let (seen, death) = watch_over(&config, &http, &found);
        let upstream = Arc::new(Upstream {
            http,
            flavour: found.flavour,
            model: found.model,
            tokenizer,
            context_tokens: info.context_tokens,
            max_thinking_tokens: config.max_thinking_tokens,
            opens_thought: config.opens_thought,
            listed: able.listed,
            tells_named: able.tells_named,
            places: Arc::new(Semaphore::new(info.capacity as usize)),
            progress: AtomicU64::new(0),
        });
        tracing::info!(
            url = config.url,
            flavour = upstream.flavour.name(),
            model = upstream.model,
            numerics = info.numerics,
            logprobs = able.listed,
            "upstream found"
        );
        let occupancy = Arc::new(Occupancy::new(info.capacity as usize, MAX_QUEUED));
        Ok(Self { info, upstream, occupancy, seen, death })
    }
}

impl Backend for OpenAiBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(&self) -> Load {
        self.seen.load(&self.occupancy, self.upstream.progress.load(Ordering::Relaxed))
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        let (handle, cancels) = GroupHandle::new(&group);
        if self.death.borrow().is_some() {
            return handle; // dropping the events fails every sample
        }
        if let Some(why) = self.seen.down() {
            events.fail_all(FailureKind::Worker, &why);
            return handle;
        }
        match self.occupancy.seat(group.samples.len()) {
            Some(seats) => {
                let events = events.seated(seats);
                tokio::spawn(group::run(self.upstream.clone(), group, events, cancels));
            }
            None => events.busy(RETRY_AFTER),
        }
        handle
    }

    fn death(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.death.clone()
    }

    fn absence(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.seen.absence()
    }
}

// === private ===

/// An upstream that answers, before anything was tried on it.
struct Reached {
    http: Http,
    tokenizer: Option<Tokenizer>,
    found: Found,
}

async fn reach(config: &OpenAiConfig) -> Result<Reached, ConnectError> {
    let url = config.url.clone();
    let http = Http::new(&config.url, config.api_key.as_deref(), config.tls.clone(), config.stall)?;
    let tokenizer = config.tokenizer.as_deref().map(Tokenizer::load).transpose()?;
    let asked = config.upstream_model.as_deref().unwrap_or(&config.model);
    let found = comes_up(&http, &url, asked, config.flavour).await;
    let found = found.map_err(|refusal| ConnectError::Refused { url: url.clone(), refusal })?;
    if tokenizer.is_some() && !found.flavour.takes_tokens() {
        return Err(ConnectError::NoTokenPrompts { url });
    }
    Ok(Reached { http, tokenizer, found })
}

/// Finds the model, on a server that may still be loading it.
async fn comes_up(
    http: &Http,
    url: &str,
    model: &str,
    flavour: Option<Flavour>,
) -> Result<Found, Refusal> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let last_try = Instant::now() + COMES_UP_WITHIN;
    loop {
        match discover::find(http, model, flavour).await {
            Err(Refusal::Upstream(error)) if error.is_transient() && Instant::now() < last_try => {
                tracing::warn!(url, %error, "waiting for the upstream");
                tokio::time::sleep(FIRST_WAIT + backoff.next_wait(rand::random())).await;
            }
            ended => return ended,
        }
    }
}

/// What holds of an upstream in either role, and what it can do as far as that is known without trying.
fn info(
    config: &OpenAiConfig,
    found: &Found,
    role: WorkerRole,
) -> Result<BackendInfo, ConnectError> {
    let context_tokens = config.context_tokens.or(found.context_tokens);
    let context_tokens =
        context_tokens.ok_or_else(|| ConnectError::NoContext { url: config.url.clone() })?;
    let prompts = if config.tokenizer.is_some() { "tokens" } else { "text" };
    let opened = if config.opens_thought { ":opened" } else { "" };
    let thoughts = match config.max_thinking_tokens {
        0 => String::new(),
        tokens => format!(":think{tokens}"),
    };
    Ok(BackendInfo {
        role,
        model: config.model.clone(),
        model_digest: config.model_digest.clone().unwrap_or_else(|| found.digest()),
        method_version: jury_grm::method_version(),
        numerics: found.numerics(&format!("{prompts}{thoughts}{opened}")),
        context_tokens,
        // Its word for its mode is not a test of ours.
        reproducible: match found.is_batch_invariant {
            true => Reproducible::Seeded,
            false => Reproducible::None,
        },
        capacity: config.capacity.or(found.places).unwrap_or(CAPACITY).max(1),
        capabilities: Capabilities {
            cancel: found.flavour != Flavour::Other,
            token_prompts: config.tokenizer.is_some(),
            batch_invariant: found.is_batch_invariant,
            ..Capabilities::default()
        },
        room_tokens: None,
        state_width: None,
        adapters: Vec::new(),
    })
}

type Death = watch::Receiver<Option<Arc<str>>>;

/// Watches an upstream until the receiver is dropped.
fn watch_over(config: &OpenAiConfig, http: &Http, found: &Found) -> (Arc<Seen>, Death) {
    let seen = Arc::new(Seen::new());
    let (die, death) = watch::channel(None);
    let watched = Watched {
        http: http.clone(),
        told_flavour: config.flavour,
        flavour: found.flavour,
        model: found.model.clone(),
        identity: found.identity(),
    };
    tokio::spawn(monitor::run(watched, seen.clone(), die));
    (seen, death)
}
