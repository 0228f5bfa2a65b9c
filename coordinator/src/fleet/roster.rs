//! The workers present, as pure state: what the directory reports, what workers report about themselves, and how calls
//! to them went. `serving` says which of them serve a model.
//!
//! Each registration has a generation, and every reference to a worker carries it, so that news about an earlier
//! registration under the same id changes nothing.

mod serving;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jury_fabric::directory::{Registration, Update};
use jury_proto::convert::WorkerInfo;
use jury_proto::v1::{self, Load, WorkerStatus};

use super::health::{Evidence, Health};
use super::stall::StallWatch;

/// One registration of a worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerRef {
    /// The worker's id.
    pub id: Arc<str>,
    /// Distinguishes registrations under one id; increases.
    pub generation: u64,
}

/// A worker as load balancing sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The worker.
    pub worker: WorkerRef,
    /// Samples that it is drawing or has waiting.
    pub load: u32,
    /// Samples that it draws at once, at least 1.
    pub capacity: u32,
    /// Tokens that its KV cache holds; `None` if not reported.
    pub room_tokens: Option<u32>,
    /// Most tokens of prompt and generation together; 0 if not reported.
    pub context_tokens: u32,
}

/// Everything known about the fleet.
#[derive(Debug)]
pub struct Roster {
    workers: BTreeMap<Arc<str>, Worker>,
    /// The version of parser and guide that workers must have.
    method_version: String,
    next_generation: u64,
}

#[derive(Debug)]
struct Worker {
    generation: u64,
    registration: Registration,
    health: Health,
    /// What it serves, by its latest report.
    info: Option<WorkerInfo>,
    /// Samples that this coordinator has assigned to it.
    in_flight: u32,
    /// Its latest report, less the samples taken back since.
    reported: Load,
    stall: StallWatch,
    /// Whether its calls have shown progress since the last check.
    was_heard: bool,
    /// Whether a task probes it.
    is_probed: bool,
    /// Until when it gets no calls, whatever it reports, and why.
    shut_out: Option<(Instant, String)>,
}

// === impl WorkerRef ===

impl fmt::Display for WorkerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

// === impl Roster ===

impl Roster {
    /// An empty roster. Workers of another method version will be refused.
    pub fn new(method_version: String) -> Self {
        Self { workers: BTreeMap::new(), method_version, next_generation: 0 }
    }

    /// Applies a directory update. Returns the new registrations, which must be connected to and probed.
    pub fn apply(&mut self, update: Update) -> Vec<(WorkerRef, Registration)> {
        match update {
            Update::Reset(registrations) => {
                let is_listed = |id: &Arc<str>| registrations.iter().any(|r| *r.worker_id == **id);
                self.workers.retain(|id, _| is_listed(id));
                registrations
                    .into_iter()
                    .filter_map(|registration| self.add(registration))
                    .collect()
            }
            Update::Added(registration) => self.add(registration).into_iter().collect(),
            Update::Removed(worker_id) => {
                self.workers.remove(worker_id.as_str());
                Vec::new()
            }
        }
    }

    /// A worker reported what it serves and how busy it is. Returns its new health if that changed.
    pub fn record_info(
        &mut self,
        worker: &WorkerRef,
        info: WorkerInfo,
        load: Load,
        now: Instant,
    ) -> Option<Health> {
        let misfit = (info.method_version != self.method_version).then(|| {
            format!(
                "its method version is {}, this coordinator's is {}; samples of two versions \
                 never share a vote, run the same version of Jury on both",
                info.method_version, self.method_version
            )
        });
        let known = self.get_mut(worker)?;
        known.reported = Load { capacity: info.capacity, ..load };
        known.stall.record(load, now);
        known.info = Some(info);
        known.shut_out.take_if(|(until, _)| *until <= now);
        let shut_out = known.shut_out.as_ref().map(|(_, why)| why.clone());
        let stalled_for = known.stall.stalled_for(now);
        let evidence = match (misfit.or(shut_out), stalled_for) {
            (Some(why), _) => Evidence::Misfits(why),
            (None, Some(stalled_for)) => Evidence::Stalls(format!(
                "it draws {} samples, but its model has taken no step for {} s",
                load.running,
                stalled_for.as_secs()
            )),
            (None, None) => Evidence::Fits,
        };
        self.record(worker, evidence)
    }

    /// Records evidence about a worker. Returns its new health if that changed.
    pub fn record(&mut self, worker: &WorkerRef, evidence: Evidence) -> Option<Health> {
        let known = self.get_mut(worker)?;
        let next = known.health.after(evidence);
        // The wording of the reason may change, such as "for 32 s" after "for 30 s".
        let changed = std::mem::discriminant(&next) != std::mem::discriminant(&known.health);
        known.health = next.clone();
        changed.then_some(next)
    }

    /// A worker refused a call, though not for lack of room: it gets none until `until`. Returns its new health if
    /// that changed.
    pub fn shut_out(&mut self, worker: &WorkerRef, why: String, until: Instant) -> Option<Health> {
        self.get_mut(worker)?.shut_out = Some((until, why.clone()));
        self.record(worker, Evidence::Misfits(why))
    }

    /// A worker reported its load.
    pub fn record_load(&mut self, worker: &WorkerRef, load: Load, now: Instant) {
        if let Some(known) = self.get_mut(worker) {
            known.was_heard |= known.stall.record(load, now);
            known.reported = load;
        }
    }

    /// Assigns `n_samples` to a worker. Returns false if this registration is gone or accepts none now.
    pub fn reserve(&mut self, worker: &WorkerRef, n_samples: u32) -> bool {
        let known = self.get_mut(worker).filter(|known| known.health.is_ready());
        known.map(|known| known.in_flight += n_samples).is_some()
    }

    /// `n_samples` ended at a worker, which reports its own load.
    pub fn release(&mut self, worker: &WorkerRef, n_samples: u32) {
        if let Some(known) = self.get_mut(worker) {
            known.in_flight = known.in_flight.saturating_sub(n_samples);
        }
    }

    /// `n_samples` were taken back from a worker before they ended: it frees them within a decode step, but has no
    /// call left on which to report that.
    pub fn abandon(&mut self, worker: &WorkerRef, n_samples: u32) {
        self.release(worker, n_samples);
        if let Some(known) = self.get_mut(worker) {
            let from_queue = n_samples.min(known.reported.queued);
            known.reported.queued -= from_queue;
            known.reported.running = known.reported.running.saturating_sub(n_samples - from_queue);
        }
    }

    /// Whether this registration is the current one of its worker.
    pub fn is_current(&self, worker: &WorkerRef) -> bool {
        self.get(worker).is_some()
    }

    /// Whether a task must be started to probe this worker; if so, it counts as started.
    pub fn begin_probing(&mut self, worker: &WorkerRef) -> bool {
        let known = self.get_mut(worker);
        let begins = known.filter(|known| known.health.needs_probes() && !known.is_probed);
        begins.map(|known| known.is_probed = true).is_some()
    }

    /// Whether the task that probes this worker must continue; if not, it counts as ended.
    pub fn goes_on_probing(&mut self, worker: &WorkerRef) -> bool {
        self.get_mut(worker).is_some_and(|known| {
            known.is_probed = known.health.needs_probes();
            known.is_probed
        })
    }

    /// Workers that answer, as far as is known, but whose calls have carried no news since the last check.
    pub fn unheard(&mut self) -> Vec<WorkerRef> {
        let mut unheard = Vec::new();
        for (id, worker) in &mut self.workers {
            let was_heard = std::mem::take(&mut worker.was_heard) && worker.in_flight > 0;
            if !was_heard && !worker.is_probed {
                unheard.push(WorkerRef { id: Arc::clone(id), generation: worker.generation });
            }
        }
        unheard
    }

    /// Whether a worker with this id is registered.
    pub fn has_worker(&self, worker_id: &str) -> bool {
        self.workers.contains_key(worker_id)
    }

    /// Whether any registered worker has not yet been asked what it serves.
    pub fn has_unknown(&self) -> bool {
        self.workers.values().any(|worker| worker.health == Health::Unknown)
    }

    /// Every worker, for display.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.workers.iter().map(|(worker_id, worker)| worker.status(worker_id)).collect()
    }

    /// Adds or replaces a registration; a worker known under the same registration keeps what it reported.
    fn add(&mut self, registration: Registration) -> Option<(WorkerRef, Registration)> {
        let id: Arc<str> = registration.worker_id.as_str().into();
        if self.workers.get(&id).is_some_and(|known| known.registration == registration) {
            return None;
        }
        let generation = self.next_generation;
        self.next_generation += 1;
        let worker = Worker {
            generation,
            registration: registration.clone(),
            health: Health::Unknown,
            info: None,
            in_flight: 0,
            reported: Load::default(),
            stall: StallWatch::default(),
            was_heard: false,
            is_probed: false,
            shut_out: None,
        };
        self.workers.insert(Arc::clone(&id), worker);
        Some((WorkerRef { id, generation }, registration))
    }

    fn get(&self, worker: &WorkerRef) -> Option<&Worker> {
        self.workers.get(&worker.id).filter(|known| known.generation == worker.generation)
    }

    fn get_mut(&mut self, worker: &WorkerRef) -> Option<&mut Worker> {
        self.workers.get_mut(&worker.id).filter(|known| known.generation == worker.generation)
    }
}

// === impl Worker ===

impl Worker {
    fn status(&self, worker_id: &str) -> WorkerStatus {
        let of_info = |read: fn(&WorkerInfo) -> &String, registered: &String| {
            self.info.as_ref().map_or(registered, read).clone()
        };
        let info = self.info.as_ref();
        let registered = &self.registration;
        let roles = info.map_or(&[][..], |info| &info.roles);
        let heads = info.map_or(&[][..], |info| &info.heads);
        let adapters = info.map_or(&[][..], |info| &info.adapters);
        WorkerStatus {
            worker_id: worker_id.to_owned(),
            address: registered.address.clone(),
            model: of_info(|info| &info.model, &registered.model),
            model_digest: of_info(|info| &info.model_digest, &registered.model_digest),
            numerics: of_info(|info| &info.numerics, &registered.numerics),
            capacity: self.reported.capacity,
            running: self.reported.running,
            version: of_info(|info| &info.version, &registered.version),
            state: self.health.state().into(),
            state_detail: self.health.detail().to_owned(),
            roles: roles.iter().map(|&role| v1::WorkerRole::from(role).into()).collect(),
            capabilities: info.map(|info| info.capabilities.into()),
            method_version: of_info(|info| &info.method_version, &registered.method_version),
            queued: self.reported.queued,
            context_tokens: info.map_or(0, |info| info.context_tokens),
            heads: heads.iter().cloned().map(Into::into).collect(),
            adapters: adapters.iter().cloned().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
#[path = "roster/tests.rs"]
mod tests;
