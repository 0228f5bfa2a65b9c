//! A server with an OpenAI-compatible API as a backend: its model draws and we read the texts, or it scores and we rank
//! ([`OpenAiMeta`]).
//!
//! ```text
//! connect   which server, which model, what can it do?                   (discover, flavour, ability)
//! start     seat? no -> Busy; is it down? -> fails at once
//!   group   tokenise, or neutralise special tokens (prompt, neutral); one task per sample
//!     draw  one streamed request -> text -> reading; guided: short requests for the scores (readout, slot)
//! monitor   is it alive, how busy is it, is it still the same?
//! ```
//!
//! Each sample is one request with its own seed: it streams, ends when its text ends, and is cancelled alone. Every
//! answer is checked before it is used (`answer`, `sse`): a faulty answer fails the sample with a typed error, and
//! never becomes a number.
//!
//! Not promised: equal bytes for equal samples. Servers batch as they like.

mod ability;
mod answer;
mod ask;
mod client;
mod config;
mod connect;
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

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jury_grm::domain::{FailureKind, limits};
use jury_proto::convert::{Capabilities, SampleGroup, WorkerRole};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::DropGuard;

use super::occupancy::Occupancy;
use super::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use connect::{Reached, info, reach, watch_over};
use monitor::Seen;
use upstream::Upstream;

pub use config::{ConnectError, OpenAiConfig};
pub use discover::Refusal;
pub use error::UpstreamError;
pub use flavour::Flavour;
pub use http::Unusable;
pub use meta::OpenAiMeta;
pub use monitor::metric;

/// The retry delay for a caller that gets no seats.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Samples that may wait for a slot: two of the largest requests.
const MAX_QUEUED: usize = 2 * limits::MAX_K as usize;

/// An upstream server as a backend.
pub struct OpenAiBackend {
    info: BackendInfo,
    upstream: Arc<Upstream>,
    occupancy: Arc<Occupancy>,
    seen: Arc<Seen>,
    _watching: DropGuard,
}

// === impl OpenAiBackend ===

impl OpenAiBackend {
    /// Asks the upstream what it is and begins to monitor it. Waits up to two minutes for one that is not up yet. Must
    /// be called from within a tokio runtime.
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
        let (seen, watching) = watch_over(&config, &http, &found);
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
            seen: seen.clone(),
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
        Ok(Self { info, upstream, occupancy, seen, _watching: watching })
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
        match self.seen.availability() {
            Availability::Up => {}
            Availability::Away(why) => {
                events.fail_all(FailureKind::Worker, &why);
                return handle;
            }
            Availability::Dead(_) => return handle, // dropping the events fails every sample
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

    fn availability(&self) -> watch::Receiver<Availability> {
        self.seen.watch_availability()
    }
}
