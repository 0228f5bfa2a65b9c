//! Reaches an upstream in either role: waits for one that is not up yet, finds the model there, and has it watched.

use std::sync::Arc;
use std::time::Duration;

use jury_engine::Tokenizer;
use jury_fabric::backoff::Backoff;
use jury_grm::domain::Reproducible;
use jury_proto::convert::{Capabilities, WorkerRole};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::{ConnectError, OpenAiConfig};
use super::discover::{self, Found, Refusal};
use super::flavour::Flavour;
use super::http::Http;
use super::monitor::{self, Seen, Watched};
use crate::backend::BackendInfo;

/// Samples drawn at once where neither the operator nor the upstream names a number.
const CAPACITY: u32 = 32;
/// How long a server may take to come up: both are often started together, and large models load for minutes.
const COMES_UP_WITHIN: Duration = Duration::from_secs(120);
/// Waits between two tries meanwhile.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// An upstream that answers, before anything was tried on it.
pub(super) struct Reached {
    pub(super) http: Http,
    pub(super) tokenizer: Option<Tokenizer>,
    pub(super) found: Found,
}

/// Waits for it, and finds the model there.
pub(super) async fn reach(config: &OpenAiConfig) -> Result<Reached, ConnectError> {
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
pub(super) fn info(
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

/// Watches an upstream until the guard is dropped.
pub(super) fn watch_over(
    config: &OpenAiConfig,
    http: &Http,
    found: &Found,
) -> (Arc<Seen>, DropGuard) {
    let seen = Arc::new(Seen::new());
    let stop = CancellationToken::new();
    let watched = Watched {
        http: http.clone(),
        told_flavour: config.flavour,
        flavour: found.flavour,
        model: found.model.clone(),
        identity: found.identity(),
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(monitor::run(watched, seen.clone())));
    (seen, stop.drop_guard())
}
