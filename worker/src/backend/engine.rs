//! The embedded engine as a backend: the model on its own OS thread, fed through a bounded mailbox.
//!
//! ```text
//! start ── seat? no ─> Busy
//!    └─ yes ─> tokenising ─> mailbox ─> thread: messages -> cancels -> Engine::step -> events -> GroupEvents
//!                          waits for the mailbox only while nothing decodes
//! ```
//!
//! * `tokenising`: turns prompts into tokens, in parallel with the model; `in_order`: its threads;
//! * `config`: how an engine is loaded, and what a backend reports about itself; `thread`: the loop; `group`: one group
//!   in that loop; `caller`: a group's events and cancels;
//! * `translate`: converts our types to the engine's and back; pure.
//!
//! When the thread dies, every group in it fails, the mailbox closes, and the backend is [`Availability::Dead`]. When
//! the engine's card is lost, every group fails as well, and the backend is [`Availability::Away`] until the model has
//! been loaded again.

mod caller;
mod config;
mod group;
mod in_order;
#[cfg(test)]
mod tests;
mod thread;
mod tokenising;
mod translate;

use std::collections::HashMap;
use std::path::Path;
#[cfg(test)]
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jury_engine::{
    Adapter, AdapterId, Counters, DeviceKind, Engine, LoadError, ModelInfo, Tokenizer,
};
use jury_proto::convert::{AdaptedModel, Capabilities, SampleGroup, WorkerRole};
use tokio::sync::watch;

use super::model_thread::{Revival, Turn, refuse_for};
use super::occupancy::Occupancy;
use super::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load, model_thread};
use crate::models::combined_digest;
use caller::Caller;
use thread::{Message, ModelThread};
use tokenising::{CountsTokens, NewGroup, Tokenising};

pub use config::{AdapterConfig, EngineBackendConfig};
pub use translate::prompt as engine_prompt;

/// Maximum groups that are tokenised or waiting for it, and maximum groups that wait between two steps. Each group has
/// seats, so the limit on samples bounds both queues long before this does.
const MAILBOX_GROUPS: usize = 1024;

/// The retry delay for a caller that gets no seats: about the time that a few samples of a small model take.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// An engine on its own thread.
pub struct EngineBackend {
    info: BackendInfo,
    model: ModelInfo,
    /// Keyed by the digests that groups name.
    adapters: HashMap<String, AdapterId>,
    tokenising: Tokenising,
    #[cfg(test)]
    mailbox: SyncSender<Message>,
    device: DeviceKind,
    occupancy: Arc<Occupancy>,
    counters: Arc<Mutex<Counters>>,
    availability: watch::Receiver<Availability>,
}

// === impl EngineBackend ===

impl EngineBackend {
    /// Loads the model and starts its thread. Blocks for as long as loading takes.
    ///
    /// # Errors
    /// The engine's error: a file that is missing, foreign, corrupt or of an unknown family, or a device that this
    /// machine does not have.
    pub fn load(config: EngineBackendConfig) -> Result<Self, LoadError> {
        Self::load_with(config, |tokenizer| Box::new(tokenizer))
    }

    /// As [`EngineBackend::load`], with a wrapper between the tokenizer and its threads.
    fn load_with(
        config: EngineBackendConfig,
        text: impl FnOnce(Tokenizer) -> Box<dyn CountsTokens>,
    ) -> Result<Self, LoadError> {
        let mut engine = Engine::load(&config.path, &config.engine)?;
        if engine.scalar_head().is_some() {
            let why = "a scalar reward model, which draws no samples: serve it with `jury worker --role meta`";
            return Err(LoadError::Unsupported { path: config.path, why: why.to_owned() });
        }
        let (mut adapters, mut adapted_models) = (HashMap::new(), Vec::new());
        for AdapterConfig { name, path } in &config.adapters {
            let (id, model_digest) = load_adapter(&mut engine, path, &config.digest)?;
            adapters.insert(model_digest.clone(), id);
            adapted_models.push(AdaptedModel { name: name.clone(), model_digest });
        }
        let capabilities = Capabilities {
            seeds: true,
            distributions: true,
            hidden_states: true,
            cancel: true,
            token_prompts: true,
            many_per_call: true,
            log_probabilities: true,
            constrained_output: true,
            batch_invariant: engine.is_bitwise(),
        };
        let digest = config.digest.clone();
        let info = BackendInfo {
            adapters: adapted_models,
            ..config.info(&engine, WorkerRole::Grm, digest, capabilities)
        };
        let model = engine.model().clone();
        let occupancy = Arc::new(Occupancy::new(engine.max_sequences(), config.max_queued_samples));
        let counters = Arc::new(Mutex::new(engine.counters()));
        let (mailbox, messages) = mpsc::sync_channel(MAILBOX_GROUPS);
        let no_thread = |error| LoadError::Device(format!("no thread for the model: {error}"));
        let (tokenizer, context) = (text(engine.tokenizer()), engine.context());
        let tokenising = tokenising::start(tokenizer, context, mailbox.clone(), MAILBOX_GROUPS)
            .map_err(no_thread)?;
        let (set_availability, availability) = watch::channel(Availability::Up);
        let revival = Revival::of(&engine, &config.path, &config.engine, set_availability.clone());
        let model_counters = counters.clone();
        let device = engine.device();
        let live = move || live(engine, messages, &model_counters, &revival);
        model_thread::spawn(set_availability, live).map_err(no_thread)?;
        Ok(Self {
            info,
            model,
            adapters,
            tokenising,
            #[cfg(test)]
            mailbox,
            device,
            occupancy,
            counters,
            availability,
        })
    }

    /// Facts about the model.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// The device in use; with [`DeviceKind::Auto`], the one that was chosen.
    pub fn device(&self) -> DeviceKind {
        self.device
    }

    /// The engine's counters as of its last step.
    pub fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends groups that are no longer wanted while they wait to be tokenised or for the groups before them.
    fn sweep(&self) {
        self.tokenising
            .retain(|waiting| waiting.caller.wants_any(), |tokenised| tokenised.caller.wants_any());
    }

    /// Makes the thread panic, as a bug in the engine would.
    #[cfg(test)]
    fn die(&self) {
        self.mailbox.send(Message::Die).expect("the thread is alive");
    }
}

/// Runs the model on its thread: one engine, and a new one each time an engine is lost with its card. (Those with
/// adapters compute on the CPU, which is never lost.)
fn live(
    mut engine: Engine,
    mut messages: Receiver<Message>,
    counters: &Arc<Mutex<Counters>>,
    revival: &Revival,
) {
    loop {
        let mut model = ModelThread::new(engine, messages, counters.clone());
        let why = loop {
            match model.turn() {
                Turn::More => {}
                Turn::Done => return,
                Turn::Lost(why) => break why,
            }
        };
        // Before the loss is reported, so that samples that are drawn again are not sent here.
        revival.leave(&why);
        messages = model.into_messages();
        match revival.revive(|wait| refuse_for(wait, &messages, Message::refuse)) {
            Some(revived) => engine = revived,
            None => return,
        }
    }
}

/// Reads and loads an adapter. Returns its id, and the digest of the engine's model with the adapter.
fn load_adapter(
    engine: &mut Engine,
    path: &Path,
    base_digest: &str,
) -> Result<(AdapterId, String), LoadError> {
    let adapter = Adapter::read(path)?;
    let id = engine
        .load_adapter(&adapter)
        .map_err(|source| LoadError::Adapter { path: path.to_owned(), source })?;
    Ok((id, combined_digest(&[base_digest.to_owned(), adapter.digest().to_owned()])))
}

impl Backend for EngineBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(&self) -> Load {
        // Groups that were dropped while they waited give back their seats before seats are counted.
        self.sweep();
        self.occupancy.load(self.counters().steps)
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        let (handle, cancels) = GroupHandle::new(&group);
        match *self.availability.borrow() {
            Availability::Up => {}
            Availability::Away(_) => {
                events.busy(RETRY_AFTER);
                return handle;
            }
            Availability::Dead(_) => return handle, // dropping the events fails every sample
        }
        self.sweep();
        let Some(seats) = self.occupancy.seat(group.samples.len()) else {
            events.busy(RETRY_AFTER);
            return handle;
        };
        let adapter = self.adapters.get(&group.model_digest).copied();
        let caller = Caller::new(events.seated(seats), cancels);
        if let Err(new_group) = self.tokenising.push(NewGroup { group, adapter, caller }) {
            new_group.caller.events.busy(RETRY_AFTER);
        }
        handle
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.availability.clone()
    }
}
