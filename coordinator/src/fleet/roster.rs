//! Who is there, as pure state: what the directory says, what workers say of themselves, and how
//! calls to them went.
//!
//! A worker takes part once it has told what it serves, and until a call to it fails to connect;
//! then it is probed until it answers again. A sample is a function of its class, so requests are
//! bound to one [`Class`] before anything is drawn.

use std::collections::BTreeMap;

use jury_fabric::directory::{Registration, Update};
use jury_grm::domain::Reproducible;
use jury_proto::convert::WorkerInfo;
use jury_proto::v1::{Load, WorkerStatus};

/// Workers that draw the same bytes for the same sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the model's file, hex.
    pub model_digest: String,
    /// Class of arithmetic.
    pub numerics: String,
    /// Version of parser and guide.
    pub method_version: String,
    /// What a repeat of a sample may rely on.
    pub reproducible: Reproducible,
}

/// A worker as the choice between workers sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub worker_id: String,
    /// Samples that it draws or has waiting.
    pub load: u32,
    /// Samples that it draws at once, at least 1.
    pub capacity: u32,
}

/// Why no class can serve a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoClass {
    /// Nobody is there (yet).
    #[error("no worker can be reached{}", list(" (known: ", .known, ")"))]
    NoWorker {
        /// Ids of workers that are known but do not answer.
        known: Vec<String>,
    },
    /// Workers are there, but none serves this model.
    #[error("no worker serves model {model:?}{}", list("; the fleet serves ", .serves, ""))]
    UnknownModel {
        /// The model asked for.
        model: String,
        /// Models that are served.
        serves: Vec<String>,
    },
    /// The request names no model, and the fleet serves several.
    #[error("the fleet serves several models, name one of them{}", list(": ", .serves, ""))]
    Ambiguous {
        /// Models that are served.
        serves: Vec<String>,
    },
}

/// Everything known of the fleet.
#[derive(Debug, Default)]
pub struct Roster {
    workers: BTreeMap<String, Worker>,
}

#[derive(Debug)]
struct Worker {
    registration: Registration,
    /// What it serves, by its own word; `None` until it has answered, or since it last failed to.
    info: Option<WorkerInfo>,
    /// Samples that this coordinator has given it.
    in_flight: u32,
    /// Its own last report.
    reported: Load,
}

// === impl Roster ===

impl Roster {
    /// Takes in what the directory says. Returns the workers to connect to and ask.
    pub fn apply(&mut self, update: Update) -> Vec<String> {
        match update {
            Update::Reset(registrations) => {
                let is_listed = |id: &String| registrations.iter().any(|r| r.worker_id == *id);
                self.workers.retain(|id, _| is_listed(id));
                registrations
                    .into_iter()
                    .filter_map(|registration| self.add(registration))
                    .collect()
            }
            Update::Added(registration) => self.add(registration).into_iter().collect(),
            Update::Removed(worker_id) => {
                self.workers.remove(&worker_id);
                Vec::new()
            }
        }
    }

    /// A worker told what it serves.
    pub fn record_info(&mut self, worker_id: &str, info: WorkerInfo) {
        if let Some(worker) = self.workers.get_mut(worker_id) {
            worker.reported.capacity = info.capacity;
            worker.info = Some(info);
        }
    }

    /// A worker could not be reached, or serves something else than it said: nothing goes there
    /// until it has answered a probe. Returns false when it is not known (any more).
    pub fn record_unreachable(&mut self, worker_id: &str) -> bool {
        let worker = self.workers.get_mut(worker_id);
        worker.is_some_and(|worker| worker.info.take().is_some())
    }

    /// A worker reported its load.
    pub fn record_load(&mut self, worker_id: &str, load: Load) {
        if let Some(worker) = self.workers.get_mut(worker_id) {
            worker.reported = load;
        }
    }

    /// `n_samples` were given to a worker.
    pub fn reserve(&mut self, worker_id: &str, n_samples: u32) {
        if let Some(worker) = self.workers.get_mut(worker_id) {
            worker.in_flight += n_samples;
        }
    }

    /// `n_samples` came back from a worker, in whatever way.
    pub fn release(&mut self, worker_id: &str, n_samples: u32) {
        if let Some(worker) = self.workers.get_mut(worker_id) {
            worker.in_flight = worker.in_flight.saturating_sub(n_samples);
        }
    }

    /// True while the worker is registered.
    pub fn is_known(&self, worker_id: &str) -> bool {
        self.workers.contains_key(worker_id)
    }

    /// Where a worker is reached.
    pub fn registration(&self, worker_id: &str) -> Option<&Registration> {
        self.workers.get(worker_id).map(|worker| &worker.registration)
    }

    /// The class that serves `model`, or the only model there is. Of several classes of one model
    /// the one with the most capacity serves; the first by name, if they are equal.
    ///
    /// # Errors
    /// [`NoClass`] says what is missing and what there is.
    pub fn class_for(&self, model: Option<&str>) -> Result<Class, NoClass> {
        let serving: Vec<&WorkerInfo> =
            self.workers.values().filter_map(|worker| worker.info.as_ref()).collect();
        if serving.is_empty() {
            return Err(NoClass::NoWorker { known: self.workers.keys().cloned().collect() });
        }
        let mut serves: Vec<String> = serving.iter().map(|info| info.model.clone()).collect();
        serves.sort_unstable();
        serves.dedup();
        let model = match model {
            Some(model) if !serves.iter().any(|served| served == model) => {
                return Err(NoClass::UnknownModel { model: model.to_owned(), serves });
            }
            Some(model) => model.to_owned(),
            None if serves.len() > 1 => return Err(NoClass::Ambiguous { serves }),
            None => serves.remove(0),
        };
        let mut capacities: BTreeMap<(&str, &str, &str), (u32, &WorkerInfo)> = BTreeMap::new();
        for info in serving.into_iter().filter(|info| info.model == model) {
            let key =
                (info.model_digest.as_str(), info.numerics.as_str(), info.method_version.as_str());
            capacities.entry(key).or_insert((0, info)).0 += info.capacity.max(1);
        }
        // Of equals `max_by_key` takes the last, so the order is reversed to take the first.
        let (_, info) = capacities
            .into_values()
            .rev()
            .max_by_key(|(capacity, _)| *capacity)
            .expect("a served model has a worker");
        Ok(Class {
            model,
            model_digest: info.model_digest.clone(),
            numerics: info.numerics.clone(),
            method_version: info.method_version.clone(),
            reproducible: info.reproducible,
        })
    }

    /// Workers of `class` that can be reached.
    pub fn candidates(&self, class: &Class) -> Vec<Candidate> {
        let serves = |info: &WorkerInfo| {
            info.model == class.model
                && info.model_digest == class.model_digest
                && info.numerics == class.numerics
                && info.method_version == class.method_version
        };
        self.workers
            .iter()
            .filter(|(_, worker)| worker.info.as_ref().is_some_and(serves))
            .map(|(worker_id, worker)| Candidate {
                worker_id: worker_id.clone(),
                load: worker.in_flight.max(worker.reported.running + worker.reported.queued),
                capacity: worker.reported.capacity.max(1),
            })
            .collect()
    }

    /// Workers that can be reached, as far as is known, and draw nothing for this coordinator.
    pub fn idle(&self) -> Vec<String> {
        let is_idle = |worker: &Worker| worker.info.is_some() && worker.in_flight == 0;
        let idle = self.workers.iter().filter(|(_, worker)| is_idle(worker));
        idle.map(|(worker_id, _)| worker_id.clone()).collect()
    }

    /// Samples that all reachable workers can draw at once.
    pub fn capacity(&self) -> u32 {
        let reachable = self.workers.values().filter(|worker| worker.info.is_some());
        reachable.map(|worker| worker.reported.capacity).sum()
    }

    /// Every worker, for people.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.workers.iter().map(|(worker_id, worker)| worker.status(worker_id)).collect()
    }

    /// Adds or replaces; a worker that is known under the same address keeps what it told.
    fn add(&mut self, registration: Registration) -> Option<String> {
        let worker_id = registration.worker_id.clone();
        if let Some(known) = self.workers.get_mut(&worker_id)
            && known.registration == registration
        {
            return None;
        }
        let worker = Worker { registration, info: None, in_flight: 0, reported: Load::default() };
        self.workers.insert(worker_id.clone(), worker);
        Some(worker_id)
    }
}

// === impl Worker ===

impl Worker {
    fn status(&self, worker_id: &str) -> WorkerStatus {
        let of_info = |read: fn(&WorkerInfo) -> &String, registered: &String| {
            self.info.as_ref().map_or(registered, read).clone()
        };
        let registered = &self.registration;
        WorkerStatus {
            worker_id: worker_id.to_owned(),
            address: registered.address.clone(),
            model: of_info(|info| &info.model, &registered.model),
            model_digest: of_info(|info| &info.model_digest, &registered.model_digest),
            numerics: of_info(|info| &info.numerics, &registered.numerics),
            capacity: self.reported.capacity,
            running: self.reported.running,
            connected: self.info.is_some(),
            version: of_info(|info| &info.version, &registered.version),
            ..WorkerStatus::default()
        }
    }
}

fn list(before: &str, names: &[String], after: &str) -> String {
    if names.is_empty() { String::new() } else { format!("{before}{}{after}", names.join(", ")) }
}

#[cfg(test)]
#[path = "roster/tests.rs"]
mod tests;
