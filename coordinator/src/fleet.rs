//! The fleet: keeps the [`Roster`] up to date, and a channel to every worker.
//!
//! A task follows the directory. A worker that appears, or that a call could not reach, is probed (`GetInfo`) until it
//! reports what it serves; only then does it get samples. A worker whose calls carry no news is probed from time to
//! time, for three reasons: a directory that is unreachable cannot report that the worker has gone, the worker's load
//! must not be taken from an old report, and a hung model is detected by its step counter. Every change is signalled
//! to the requests that wait for a worker.

mod class;
mod health;
mod metrics;
mod probing;
mod reservation;
mod roster;
mod stall;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jury_fabric::connector::Connector;
use jury_fabric::directory::Directory;
use jury_fabric::transport::Channel;
use jury_proto::v1::{Load, WorkerStatus};
use jury_proto::{ErrorCode, JuryError};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

pub use class::{NoClass, WorkerClass};
pub use health::{Evidence, Health};
pub use metrics::DirectoryMetrics;
pub use reservation::Reservation;
pub use roster::{Candidate, Roster, WorkerRef};

/// How long a worker that rejected this coordinator gets no other call, however it answers probes: a proxy in front of
/// it may let probes through.
const TURNED_AWAY_FOR: Duration = Duration::from_secs(30);

/// A handle to the fleet.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<dyn Directory>,
    connector: Connector,
    roster: Mutex<Roster>,
    /// By registration, so that a worker which came back is never called on its old channel.
    channels: Mutex<HashMap<WorkerRef, Channel>>,
    /// Incremented whenever a worker comes, goes or answers.
    changed: watch::Sender<u64>,
}

// === impl Fleet ===

impl Fleet {
    /// Follows `directory` until the last handle is dropped.
    pub fn start(directory: Arc<dyn Directory>, connector: Connector) -> Self {
        let fleet = Self {
            inner: Arc::new(Inner {
                directory,
                connector,
                roster: Mutex::new(Roster::new(jury_grm::method_version())),
                channels: Mutex::default(),
                changed: watch::channel(0).0,
            }),
        };
        let mut updates = fleet.inner.directory.watch();
        let weak = Arc::downgrade(&fleet.inner);
        tokio::spawn(async move {
            while let Some(update) = updates.next().await {
                let Some(inner) = weak.upgrade() else { return };
                let fleet = Self { inner };
                let appeared = fleet.roster().apply(update);
                fleet.forget_channels();
                for (worker, registration) in appeared {
                    fleet.connect(worker, &registration);
                }
                fleet.tell_change();
            }
        });
        fleet.check_unheard_workers();
        fleet
    }

    /// A receiver that marks the fleet's current state as seen; `changed()` waits for the next change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// The class that serves `model`; see [`Roster::class_for`].
    ///
    /// # Errors
    /// [`NoClass`] if no worker can serve it.
    pub fn class_for(&self, model: Option<&str>) -> Result<WorkerClass, NoClass> {
        self.roster().class_for(model)
    }

    /// The class that serves `model`, waiting at most `patience` for a first worker. Does not wait if the fleet has
    /// workers but they serve other models.
    ///
    /// # Errors
    /// [`NoClass`] if no worker can serve it by then.
    pub async fn wait_for_class(
        &self,
        model: Option<&str>,
        patience: Duration,
    ) -> Result<WorkerClass, NoClass> {
        self.wait_while(model, patience, |none| matches!(none, NoClass::NoWorker { .. })).await
    }

    /// The same for a model whose workers may yet be started: workers of other models do not end the wait.
    ///
    /// # Errors
    /// [`NoClass`] if no worker can serve it by then.
    pub async fn wait_for_model(
        &self,
        model: Option<&str>,
        patience: Duration,
    ) -> Result<WorkerClass, NoClass> {
        let is_worth_it = |none: &NoClass| !matches!(none, NoClass::Ambiguous { .. });
        self.wait_while(model, patience, is_worth_it).await
    }

    async fn wait_while(
        &self,
        model: Option<&str>,
        patience: Duration,
        is_worth_it: impl Fn(&NoClass) -> bool,
    ) -> Result<WorkerClass, NoClass> {
        let mut changes = self.changes();
        let found = tokio::time::timeout(patience, async {
            loop {
                match self.class_for(model) {
                    Err(none) if is_worth_it(&none) => changes.changed().await.ok()?,
                    settled => return Some(settled),
                }
            }
        });
        match found.await {
            Ok(Some(settled)) => settled,
            Ok(None) | Err(_) => self.class_for(model),
        }
    }

    /// Waits at most `patience` until these workers are present and every worker has been asked what it serves.
    pub async fn wait_until_known(&self, ids: &[&str], patience: Duration) {
        let mut changes = self.changes();
        let known = async {
            loop {
                let is_known = {
                    let roster = self.roster();
                    !roster.has_unknown() && ids.iter().all(|id| roster.has_worker(id))
                };
                if is_known || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(patience, known).await);
    }

    /// The class that serves `model` as a Meta RM; see [`Roster::meta_class`].
    pub fn meta_class(&self, model: &str) -> Option<WorkerClass> {
        self.roster().meta_class(model)
    }

    /// The class that serves `model` with a head of this name; see [`Roster::class_with_head`].
    pub fn class_with_head(&self, model: &str, head: &str) -> Option<WorkerClass> {
        self.roster().class_with_head(model, head)
    }

    /// Digest of the head that workers of `class` have under this name.
    pub fn head(&self, class: &WorkerClass, name: &str) -> Option<String> {
        self.roster().head(class, name)
    }

    /// Whether a worker has the head with this digest.
    pub fn has_head(&self, worker: &WorkerRef, digest: &str) -> bool {
        self.roster().has_head(worker, digest)
    }

    /// Workers of `class` that accept samples.
    pub fn candidates(&self, class: &WorkerClass) -> Vec<Candidate> {
        self.roster().candidates(class)
    }

    /// Reserves `n_samples` at a worker. `None` if this registration is gone or accepts nothing now.
    pub fn reserve(&self, worker: &WorkerRef, n_samples: u32) -> Option<Reservation> {
        let channel = self.channel(worker)?;
        let is_reserved = self.roster().reserve(worker, n_samples);
        is_reserved.then(|| Reservation {
            fleet: self.clone(),
            worker: worker.clone(),
            channel,
            n_held: n_samples,
        })
    }

    /// A worker reported its load.
    pub fn record_load(&self, worker: &WorkerRef, load: Load) {
        self.roster().record_load(worker, load, Instant::now().into_std());
    }

    /// A call broke. If the worker is to blame, or serves something other than it reported, it gets no calls until it
    /// has answered a probe. A worker that rejects this coordinator's credentials gets none for longer.
    pub fn record_failed_call(&self, worker: &WorkerRef, error: &JuryError) {
        let evidence = match error.code {
            ErrorCode::Unauthenticated => {
                let until = Instant::now() + TURNED_AWAY_FOR;
                let changed =
                    self.roster().shut_out(worker, probing::turned_away(error), until.into_std());
                return self.follow_up(worker, changed);
            }
            ErrorCode::ShuttingDown => Evidence::Drains,
            ErrorCode::WrongModel => Evidence::CallFailed(error.to_string()),
            code if code.is_worker_fault() => Evidence::CallFailed(error.to_string()),
            _ => return,
        };
        self.record(worker, evidence);
    }

    /// Samples that the ready workers of each model can draw at once.
    pub fn capacities(&self) -> HashMap<String, u32> {
        self.roster().capacities()
    }

    /// Every worker, for display.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.roster().status()
    }

    /// The source of workers, and whether it can be reached.
    pub fn directory(&self) -> &dyn Directory {
        self.inner.directory.as_ref()
    }

    fn channel(&self, worker: &WorkerRef) -> Option<Channel> {
        self.channels().get(worker).cloned()
    }

    /// Records evidence, signals the change, and starts probing if needed.
    fn record(&self, worker: &WorkerRef, evidence: Evidence) {
        let changed = self.roster().record(worker, evidence);
        self.follow_up(worker, changed);
    }

    fn follow_up(&self, worker: &WorkerRef, changed: Option<Health>) {
        let Some(health) = changed else { return };
        match health {
            Health::Ready => info!(worker_id = %worker, "worker is ready"),
            _ => {
                let (state, why) = (health.state().as_str_name(), health.detail());
                warn!(worker_id = %worker, state, why, "worker takes no samples");
            }
        }
        self.probe_while_needed(worker.clone());
        self.tell_change();
    }

    fn forget_channels(&self) {
        let roster = self.roster();
        self.channels().retain(|worker, _| roster.is_current(worker));
    }

    fn tell_change(&self) {
        self.inner.changed.send_modify(|version| *version += 1);
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.inner.roster.lock()
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<WorkerRef, Channel>> {
        self.inner.channels.lock()
    }
}
