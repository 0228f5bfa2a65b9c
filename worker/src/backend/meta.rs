//! A scalar reward model as a backend: it ranks trajectories and draws nothing.
//!
//! ```text
//! rank ── seats? no ─> Overloaded
//!    └─ yes ─> conversations to tokens (`tokenise`) ─> mailbox ─> thread: take jobs -> drop abandoned ones
//!                                                                  -> Engine::step -> states -> scores -> answer
//! ```
//!
//! A trajectory is submitted as a group without generated text. The engine computes the prompt that trajectories share
//! only once, and many trajectories in one step. A call's work ends within one step when its future is dropped or its
//! time is up.

mod job;
mod scorer;
mod states;
#[cfg(test)]
mod tests;
mod thread;
pub(super) mod tokenise;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, ready};
use jury_engine::head::HeadError;
use jury_engine::{Counters, DeviceKind, Engine, KvRoom, LoadError, Tokenizer};
use jury_grm::domain::FailureKind;
use jury_proto::convert::{Capabilities, RankRequest, Ranked, SampleGroup, WorkerRole};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::engine::EngineBackendConfig;
use super::model_thread::{Revival, Thread};
use super::occupancy::Occupancy;
use super::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load, model_thread};
use job::Job;
use scorer::Scorer;
pub use states::{ReadState, ReaderLost, StateReader};

/// Maximum calls that wait between two steps. Their trajectories have seats, whose limit bounds the queue long before
/// this does.
const MAILBOX_CALLS: usize = 1024;

/// The retry delay for a caller that gets no seats: about the time that a small model takes for some trajectories.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A Meta RM on its own thread.
pub struct MetaBackend {
    info: BackendInfo,
    tokenizer: Tokenizer,
    mailbox: SyncSender<Job>,
    occupancy: Arc<Occupancy>,
    counters: Arc<Mutex<Counters>>,
    device: DeviceKind,
    thread: Thread,
    availability: watch::Receiver<Availability>,
}

/// Why a model cannot serve as a Meta RM.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// The model does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The head file is not a head, or not one for this model.
    #[error("{path}: {source}")]
    Head {
        /// The file.
        path: PathBuf,
        /// Why.
        source: HeadError,
    },
    /// A language model without a head: nothing turns its states into scores.
    #[error(
        "{path} is no scalar reward model; take a folder whose config.json names a *ForSequenceClassification with one label, \
         or add a head that was trained on this model"
    )]
    NoScore {
        /// The model.
        path: PathBuf,
    },
    /// The model has a score of its own, so it takes no head.
    #[error("{path} has a score of its own and takes no head beside it")]
    TwoScores {
        /// The model.
        path: PathBuf,
    },
}

// === impl MetaBackend ===

impl MetaBackend {
    /// Loads a scalar reward model, or any model together with a head that was trained on its states, and starts its
    /// thread. With a head, the digest that is served covers both files. It takes no more of a card's memory than it
    /// needs, so that a judge that is loaded later finds room. Blocks for as long as loading takes.
    ///
    /// # Errors
    /// [`MetaError`].
    pub fn load(mut config: EngineBackendConfig, head: Option<&Path>) -> Result<Self, MetaError> {
        config.engine.kv_room = KvRoom::OneContext;
        let engine = Engine::load(&config.path, &config.engine)?;
        let (scorer, model_digest) = Scorer::of(&engine, &config, head)?;
        let capabilities =
            Capabilities { cancel: true, token_prompts: true, ..Capabilities::default() };
        let info = config.info(&engine, WorkerRole::Meta, model_digest, capabilities);
        let counters = Arc::new(Mutex::new(engine.counters()));
        let tokenizer = engine.tokenizer();
        let (mailbox, jobs) = mpsc::sync_channel(MAILBOX_CALLS);
        let (set_availability, availability) = watch::channel(Availability::Up);
        let revival = Revival::of(&engine, &config.path, &config.engine, set_availability.clone());
        let model_counters = counters.clone();
        let (device, capacity) = (engine.device(), engine.max_sequences());
        let live = move || thread::live(engine, &scorer, jobs, &model_counters, &revival);
        let thread = model_thread::spawn(set_availability, live)
            .map_err(|error| LoadError::Device(format!("no thread for the model: {error}")))?;
        let occupancy = Arc::new(Occupancy::new(capacity, config.max_queued_samples));
        Ok(Self { info, tokenizer, mailbox, occupancy, counters, device, thread, availability })
    }

    /// The device in use; with [`DeviceKind::Auto`], the one that was chosen.
    pub fn device(&self) -> DeviceKind {
        self.device
    }

    /// Ends the backend, and waits until it has released its device memory.
    pub fn end(self) {
        let Self { mailbox, thread, .. } = self;
        drop(mailbox);
        thread.join();
    }

    /// The engine's counters as of its last step.
    pub fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for MetaBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(&self) -> Load {
        self.occupancy.load(self.counters().steps)
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        let (handle, _) = GroupHandle::new(&group);
        events.fail_all(FailureKind::Worker, "a Meta RM draws no samples");
        handle
    }

    fn rank(&self, request: RankRequest) -> BoxFuture<'static, Result<Vec<Ranked>, JuryError>> {
        let remaining = request.remaining_ms.map(Duration::from_millis);
        let deadline = remaining.and_then(|remaining| Instant::now().checked_add(remaining));
        if !self.availability.borrow().is_up() {
            return Box::pin(ready(Err(stopped())));
        }
        let seats = self.occupancy.seat(request.trajectories.len());
        let (tokenizer, mailbox) = (self.tokenizer.clone(), self.mailbox.clone());
        Box::pin(async move {
            let seats = seats.ok_or_else(busy)?;
            let (reply, answer) = oneshot::channel();
            let hand_over = move || {
                let Some(conversations) = tokenise::conversations(&tokenizer, &request, &reply)
                else {
                    return Ok(()); // the caller is gone
                };
                let salt = request.cache_salt.map(Into::into);
                let job = Job::new(conversations, salt, deadline, seats, reply);
                mailbox.try_send(job).map_err(|refused| match refused {
                    TrySendError::Full(_) => busy(),
                    TrySendError::Disconnected(_) => stopped(),
                })
            };
            tokio::task::spawn_blocking(hand_over).await.map_err(|_| stopped())??;
            answer.await.map_err(|_| stopped())
        })
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.availability.clone()
    }
}

pub(super) fn busy() -> JuryError {
    let message = "this worker has no room for further trajectories now";
    let busy = JuryError::new(ErrorCode::Overloaded, message);
    JuryError { retry_delay: Some(RETRY_AFTER), ..busy }
}

pub(super) fn stopped() -> JuryError {
    let message = "the worker's model stopped before the trajectories were ranked";
    JuryError::new(ErrorCode::Internal, message)
}
