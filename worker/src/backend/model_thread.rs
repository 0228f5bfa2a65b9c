//! The thread that a model runs on: how its death is reported, and how it gets a new engine when its card is lost.
//!
//! ```text
//! turn -> More ... -> Lost(why): the engine is dropped -> away -> wait, load, wait longer, load ... -> up
//!                  -> Done       a panic: dead
//! ```

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{io, thread};

use jury_engine::{Engine, EngineConfig};
use jury_fabric::backoff::bound;
use tokio::sync::watch;

use super::Availability;

/// The wait before the first attempt to reload an engine: the driver needs a moment to notice the loss.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Maximum number of loads that may fail in a row: about two minutes.
const MOST_TRIES: u32 = 7;

/// The result of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more to do.
    More,
    /// There are no callers left.
    Done,
    /// The engine's card is lost, and every sample has failed for that reason.
    Lost(String),
}

/// The thread of a model.
pub(super) struct Thread {
    handle: thread::JoinHandle<()>,
}

/// Reloads an engine whose card was lost.
pub(super) struct Revival {
    path: PathBuf,
    /// On the same device, since another one would give different bits, and with the same memory for keys and values,
    /// since the rest may belong to another model.
    config: EngineConfig,
    numerics: String,
    availability: watch::Sender<Availability>,
}

/// Runs `model` on a thread. A panic makes the backend dead, after everything that the thread held has been dropped.
pub(super) fn spawn(
    availability: watch::Sender<Availability>,
    model: impl FnOnce() + Send + 'static,
) -> io::Result<Thread> {
    let handle = thread::Builder::new().name("jury-model".to_owned()).spawn(move || {
        // The state is not used after a panic: it is dropped, which fails everything in it.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(model)) {
            let why: Arc<str> = panic_text(panic.as_ref()).into();
            tracing::error!(why = &*why, "model thread panicked");
            availability.send_replace(Availability::Dead(why));
        }
    })?;
    Ok(Thread { handle })
}

/// Rejects all messages that arrive within `wait`. False when no more can arrive.
pub(super) fn refuse_for<T>(
    wait: Duration,
    mailbox: &Receiver<T>,
    mut refuse: impl FnMut(T),
) -> bool {
    let until = Instant::now() + wait;
    loop {
        match mailbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(message) => refuse(message),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

// === impl Thread ===

impl Thread {
    /// Waits until the thread has ended and dropped everything that it held. Its feeder must make it end.
    pub(super) fn join(self) {
        // The backend's availability says how it ended.
        drop(self.handle.join());
    }
}

// === impl Revival ===

impl Revival {
    /// For this engine, as it was loaded. `availability` is away while there is no engine.
    pub(super) fn of(
        engine: &Engine,
        path: &Path,
        config: &EngineConfig,
        availability: watch::Sender<Availability>,
    ) -> Self {
        let config = EngineConfig {
            device: engine.device(),
            max_sequences: Some(engine.max_sequences()),
            kv_budget_bytes: Some(engine.room_tokens() as u64 * engine.model().kv_bytes_per_token),
            ..config.clone()
        };
        Self { path: path.to_owned(), config, numerics: engine.numerics().to_owned(), availability }
    }

    /// Reports that the engine is lost: the backend is away from now on.
    pub(super) fn leave(&self, why: &str) {
        self.availability.send_replace(Availability::Away(why.into()));
        tracing::error!(device = %self.config.device, why, "the card is lost; the model will be loaded anew");
    }

    /// Loads a new engine to replace one that was dropped, after which the backend is up again. `wait` rejects all
    /// messages for the given time. Returns `None` if `wait` says that no more can arrive. After too many failed
    /// attempts the thread dies and reports why: after some faults, a card serves no process that was affected by them
    /// (CUDA's documentation of CUDA_ERROR_LAUNCH_FAILED and similar errors), and the supervisor that started the
    /// worker restarts it.
    pub(super) fn revive(&self, mut wait: impl FnMut(Duration) -> bool) -> Option<Engine> {
        let mut last = String::new();
        for failures in 0..MOST_TRIES {
            // At least half of it: an immediate attempt would find the card in the state that it was left in.
            let spread = 0.5 + rand::random::<f64>() / 2.0;
            if !wait(bound(FIRST_WAIT, LONGEST_WAIT, failures).mul_f64(spread)) {
                return None;
            }
            match self.load() {
                Ok(engine) => {
                    tracing::info!(device = engine.device_name(), "the model is loaded anew");
                    self.availability.send_replace(Availability::Up);
                    return Some(engine);
                }
                Err(why) => {
                    tracing::warn!(why, tries = failures + 1, "the model does not load anew");
                    last = why;
                }
            }
        }
        let why = format!(
            "the card is lost, and the model did not load anew in {MOST_TRIES} tries: {last}"
        );
        std::panic::resume_unwind(Box::new(why))
    }

    /// Loads an engine that gives the same bits as the one before.
    fn load(&self) -> Result<Engine, String> {
        let engine = Engine::load(&self.path, &self.config).map_err(|error| error.to_string())?;
        match engine.numerics() == self.numerics {
            true => Ok(engine),
            false => Err(format!(
                "its numerics class was {}, and is {} now: start the worker anew",
                self.numerics,
                engine.numerics()
            )),
        }
    }
}
