//! The embedded engine as a backend: the model on its own OS thread, fed through a bounded mailbox.
//!
//! ```text
//! start ── seat? no ─> Busy
//!    └─ yes ─> mailbox ─> thread: take commands -> cancels -> Engine::step -> events -> GroupEvents
//!                          waits for the mailbox only while nothing decodes
//! ```
//!
//! * `occupancy`: who may queue, and how busy the engine is;
//! * `thread`: the loop; `group`: one group inside it;
//! * `translate`: our words to the engine's and back, pure.
//!
//! When the thread dies, every group inside it fails, the mailbox closes and [`Backend::death`] tells why.

mod group;
mod occupancy;
#[cfg(test)]
mod tests;
mod thread;
mod translate;

use std::path::PathBuf;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jury_engine::{Counters, Engine, EngineConfig, LoadError, ModelInfo};
use jury_grm::domain::{Reproducible, limits};
use jury_proto::convert::{Capabilities, SampleGroup};
use tokio::sync::watch;

use super::{Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use crate::models::ResolvedModel;
use occupancy::Occupancy;
use thread::{Message, NewGroup};

pub use translate::prompt as engine_prompt;

/// Groups that may wait between two steps. Each has a seat, so that the queue is bounded by samples long before.
const MAILBOX_GROUPS: usize = 1024;

/// What a caller without a seat is told to wait: about the time that a few samples of a small model take.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How to load and feed an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineBackendConfig {
    /// The model.
    pub path: PathBuf,
    /// Its name, by which requests ask for it.
    pub name: String,
    /// SHA-256 of its file, hex.
    pub digest: String,
    /// Device, threads, lanes and memory.
    pub engine: EngineConfig,
    /// Samples that may wait for a lane; a group that would make it more is told `Busy`. A group that finds the
    /// engine idle is always taken.
    pub max_queued_samples: usize,
}

/// An engine on its own thread.
#[derive(Debug)]
pub struct EngineBackend {
    info: BackendInfo,
    model: ModelInfo,
    mailbox: SyncSender<Message>,
    occupancy: Arc<Occupancy>,
    counters: Arc<Mutex<Counters>>,
    death: watch::Receiver<Option<Arc<str>>>,
}

// === impl EngineBackendConfig ===

impl EngineBackendConfig {
    /// The defaults for a model: all of this machine's CPUs, and two of the largest requests may wait.
    pub fn new(model: ResolvedModel) -> Self {
        Self {
            path: model.path,
            name: model.name,
            digest: model.digest,
            engine: EngineConfig::default(),
            max_queued_samples: 2 * limits::MAX_K as usize,
        }
    }
}

// === impl EngineBackend ===

impl EngineBackend {
    /// Loads the model and starts its thread. Blocks for as long as loading takes.
    ///
    /// # Errors
    /// The engine's: a file that is missing, foreign, corrupt or of an unknown family, or a device that is not here.
    pub fn load(config: EngineBackendConfig) -> Result<Self, LoadError> {
        let engine = Engine::load(&config.path, &config.engine)?;
        let capacity = config.engine.max_lanes;
        let info = BackendInfo {
            model: config.name,
            model_digest: config.digest,
            numerics: engine.numerics().to_owned(),
            context_tokens: u32::try_from(engine.context()).unwrap_or(u32::MAX),
            reproducible: match engine.is_bitwise() {
                true => Reproducible::Bitwise,
                false => Reproducible::None,
            },
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
            capabilities: Capabilities {
                seeds: true,
                distributions: true,
                hidden_states: false,
                cancel: true,
                token_prompts: true,
            },
            room_tokens: None,
        };
        let model = engine.model().clone();
        let occupancy = Arc::new(Occupancy::new(capacity, config.max_queued_samples));
        let counters = Arc::new(Mutex::new(engine.counters()));
        let (mailbox, messages) = mpsc::sync_channel(MAILBOX_GROUPS);
        let death = thread::spawn(engine, messages, counters.clone())
            .map_err(|error| LoadError::Device(format!("no thread for the model: {error}")))?;
        Ok(Self { info, model, mailbox, occupancy, counters, death })
    }

    /// Facts about the model.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// What the engine has done, as of its last step.
    pub fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the thread panic, as a bug in the engine would.
    #[cfg(test)]
    fn die(&self) {
        self.mailbox.send(Message::Die).expect("the thread is alive");
    }
}

impl Backend for EngineBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(&self) -> Load {
        self.occupancy.load()
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        let (handle, cancels) = GroupHandle::new();
        let Some(seats) = self.occupancy.seat(group.samples.len()) else {
            events.busy(RETRY_AFTER);
            return handle;
        };
        let shape = translate::shape(&group);
        let new_group = NewGroup { group, events, cancels, seats, shape };
        match self.mailbox.try_send(Message::Start(Box::new(new_group))) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(Message::Start(new_group))) => {
                new_group.events.busy(RETRY_AFTER);
            }
            // Dropping the events of a group that finds the thread dead fails its samples.
            Err(_) => {}
        }
        handle
    }

    fn death(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.death.clone()
    }
}
