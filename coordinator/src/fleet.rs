//! The fleet: keeps the [`Roster`] up to date, and a channel to every worker.
//!
//! A task follows the directory. A worker that appears, or that a call could not reach, is probed
//! (`GetInfo`) until it tells what it serves; only then it gets samples. A worker that is idle is
//! asked now and then, since a directory that is away cannot tell that it has gone; one that draws
//! is known by its calls. Whatever changes is told to whoever waits for a worker.

mod roster;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use jury_fabric::directory::Directory;
use jury_fabric::transport::Channel;
use jury_proto::convert::WorkerInfo;
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::v1::{GetInfoRequest, Load, WorkerStatus};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::watch;
use tracing::{info, warn};

pub use roster::{Candidate, Class, NoClass, Roster};

/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle worker is asked whether it is still there.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// First pause between probes of a worker that does not answer; doubles up to the longest.
const FIRST_PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between probes.
const LONGEST_PROBE_PAUSE: Duration = Duration::from_secs(5);

/// A handle to the fleet.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<dyn Directory>,
    roster: Mutex<Roster>,
    channels: Mutex<HashMap<String, Channel>>,
    /// Bumped whenever a worker comes, goes or answers.
    changed: watch::Sender<u64>,
}

// === impl Fleet ===

impl Fleet {
    /// Follows `directory` until the last handle is gone.
    pub fn start(directory: Arc<dyn Directory>) -> Self {
        let fleet = Self {
            inner: Arc::new(Inner {
                directory,
                roster: Mutex::default(),
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
                let to_probe = fleet.roster().apply(update);
                for worker_id in to_probe {
                    // It may have come back under another address.
                    fleet.channels().remove(&worker_id);
                    fleet.probe_until_answered(worker_id);
                }
                fleet.forget_channels();
                fleet.tell_change();
            }
        });
        fleet.check_idle_workers();
        fleet
    }

    /// Marks the fleet's state as seen now; `changed()` waits for the next change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// The class that serves `model`; see [`Roster::class_for`].
    ///
    /// # Errors
    /// [`NoClass`] when nobody can.
    pub fn class_for(&self, model: Option<&str>) -> Result<Class, NoClass> {
        self.roster().class_for(model)
    }

    /// The class that serves `model`, waiting at most `patience` for a first worker. A fleet that
    /// is there, but serves other models, is not waited for.
    ///
    /// # Errors
    /// [`NoClass`] when nobody can by then.
    pub async fn wait_for_class(
        &self,
        model: Option<&str>,
        patience: Duration,
    ) -> Result<Class, NoClass> {
        let mut changes = self.changes();
        let found = tokio::time::timeout(patience, async {
            loop {
                match self.class_for(model) {
                    Err(NoClass::NoWorker { .. }) => changes.changed().await.ok()?,
                    settled => return Some(settled),
                }
            }
        });
        match found.await {
            Ok(Some(settled)) => settled,
            Ok(None) | Err(_) => self.class_for(model),
        }
    }

    /// Workers of `class` that can be reached.
    pub fn candidates(&self, class: &Class) -> Vec<Candidate> {
        self.roster().candidates(class)
    }

    /// The channel to a worker, if it is known and its address makes sense.
    pub fn channel(&self, worker_id: &str) -> Option<Channel> {
        if let Some(channel) = self.channels().get(worker_id) {
            return Some(channel.clone());
        }
        let registration = self.roster().registration(worker_id)?.clone();
        match self.inner.directory.connect(&registration) {
            Ok(channel) => {
                self.channels().insert(worker_id.to_owned(), channel.clone());
                Some(channel)
            }
            Err(error) => {
                warn!(worker_id, %error, "worker cannot be connected to");
                None
            }
        }
    }

    /// `n_samples` were given to a worker.
    pub fn reserve(&self, worker_id: &str, n_samples: u32) {
        self.roster().reserve(worker_id, n_samples);
    }

    /// `n_samples` came back from a worker.
    pub fn release(&self, worker_id: &str, n_samples: u32) {
        self.roster().release(worker_id, n_samples);
    }

    /// A worker reported its load.
    pub fn record_load(&self, worker_id: &str, load: Load) {
        self.roster().record_load(worker_id, load);
    }

    /// A call broke. Where the worker is to blame, or serves something else than it said, it is
    /// left alone until it has answered a probe.
    pub fn record_failed_call(&self, worker_id: &str, error: &JuryError) {
        let must_probe = error.code.is_worker_fault()
            || matches!(error.code, ErrorCode::WrongModel | ErrorCode::ShuttingDown);
        if must_probe && self.roster().record_unreachable(worker_id) {
            self.probe_until_answered(worker_id.to_owned());
            self.tell_change();
        }
    }

    /// Samples that all reachable workers can draw at once.
    pub fn capacity(&self) -> u32 {
        self.roster().capacity()
    }

    /// Every worker, for people.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.roster().status()
    }

    /// Where workers come from, and whether that can be reached.
    pub fn directory(&self) -> &dyn Directory {
        self.inner.directory.as_ref()
    }

    fn probe_until_answered(&self, worker_id: String) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let mut pause = FIRST_PROBE_PAUSE;
            loop {
                let Some(inner) = weak.upgrade() else { return };
                let fleet = Self { inner };
                if !fleet.roster().is_known(&worker_id) {
                    return;
                }
                match fleet.probe(&worker_id).await {
                    Ok(info) => {
                        info!(worker_id, model = info.model, "worker is ready");
                        fleet.roster().record_info(&worker_id, info);
                        fleet.tell_change();
                        return;
                    }
                    Err(error) => {
                        if pause == FIRST_PROBE_PAUSE {
                            warn!(worker_id, %error, "worker does not answer, probing it");
                        }
                    }
                }
                drop(fleet);
                // Full jitter, so that coordinators do not probe in step.
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(LONGEST_PROBE_PAUSE);
            }
        });
    }

    /// Leaves alone whoever is idle and does not answer, from now on and until it does.
    fn check_idle_workers(&self) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            loop {
                let pause = IDLE_CHECK_INTERVAL.mul_f64(rand::random_range(0.8..1.2));
                tokio::time::sleep(pause).await;
                let Some(inner) = weak.upgrade() else { return };
                let fleet = Self { inner };
                let idle = fleet.roster().idle();
                join_all(idle.iter().map(|worker_id| fleet.check(worker_id))).await;
            }
        });
    }

    async fn check(&self, worker_id: &str) {
        if let Err(error) = self.probe(worker_id).await
            && self.roster().record_unreachable(worker_id)
        {
            warn!(worker_id, %error, "idle worker does not answer, nothing is sent to it");
            self.probe_until_answered(worker_id.to_owned());
            self.tell_change();
        }
    }

    async fn probe(&self, worker_id: &str) -> Result<WorkerInfo, JuryError> {
        let unreachable = |message: String| JuryError::new(ErrorCode::Unreachable, message);
        let channel = self
            .channel(worker_id)
            .ok_or_else(|| unreachable(format!("no way to worker {worker_id}")))?;
        let mut client = SamplingServiceClient::new(channel);
        let answer = tokio::time::timeout(PROBE_TIMEOUT, client.get_info(GetInfoRequest {}));
        match answer.await {
            Ok(Ok(response)) => Ok(response.into_inner().into()),
            Ok(Err(status)) => Err(status.into()),
            Err(_) => Err(unreachable(format!("no answer within {PROBE_TIMEOUT:?}"))),
        }
    }

    fn forget_channels(&self) {
        let roster = self.roster();
        self.channels().retain(|worker_id, _| roster.is_known(worker_id));
    }

    fn tell_change(&self) {
        self.inner.changed.send_modify(|version| *version += 1);
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.inner.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.inner.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
