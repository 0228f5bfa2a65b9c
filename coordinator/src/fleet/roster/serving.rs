//! Which workers serve what, according to the ready workers' own reports.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jury_proto::convert::{WorkerInfo, WorkerRole};

use super::{Candidate, Roster, Worker, WorkerRef};
use crate::fleet::class::{NoClass, WorkerClass};

// === impl Roster ===

impl Roster {
    /// The class that serves `model`, or the only model if none is named. Of several classes of one model, the one
    /// with the most capacity serves; if they are equal, the first by name.
    ///
    /// # Errors
    /// [`NoClass`] says what is missing and what is available.
    pub fn class_for(&self, model: Option<&str>) -> Result<WorkerClass, NoClass> {
        self.class_in(WorkerRole::Grm, model)
    }

    /// The class that serves `model` as a Meta RM, chosen as for [`Self::class_for`].
    pub fn meta_class(&self, model: &str) -> Option<WorkerClass> {
        self.class_in(WorkerRole::Meta, Some(model)).ok()
    }

    fn class_in(&self, role: WorkerRole, model: Option<&str>) -> Result<WorkerClass, NoClass> {
        let serving: Vec<&WorkerInfo> = self.serving(role).collect();
        if serving.is_empty() {
            return Err(NoClass::NoWorker { known: self.left_out() });
        }
        let mut serves: Vec<String> = serving
            .iter()
            .flat_map(|info| info.models())
            .map(|(name, _)| name.to_owned())
            .collect();
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
        let with_models =
            serving.into_iter().flat_map(|info| info.models().map(move |model| (info, model)));
        let of_model = with_models.filter(|(_, (name, _))| *name == model);
        let class = largest(role, &model, of_model.map(|(info, (_, digest))| (info, digest)));
        Ok(class.expect("a served model has a worker"))
    }

    /// The class that serves `model` and can rank its own samples: chosen as in [`Self::class_for`] among the workers
    /// that have a head of this name. `None` if there are none.
    pub fn class_with_head(&self, model: &str, head: &str) -> Option<WorkerClass> {
        // A head reads the states of the worker's own model, not of its adapters.
        let has_head = |info: &&WorkerInfo| {
            info.model == model && info.heads.iter().any(|own| own.name == head)
        };
        let with_head = self.serving(WorkerRole::Grm).filter(has_head);
        largest(WorkerRole::Grm, model, with_head.map(|info| (info, &*info.model_digest)))
    }

    /// The ready workers with this role.
    fn serving(&self, role: WorkerRole) -> impl Iterator<Item = &WorkerInfo> {
        let ready = self.workers.values().filter(|worker| worker.health.is_ready());
        let infos = ready.filter_map(|worker| worker.info.as_ref());
        infos.filter(move |info| info.roles.contains(&role))
    }

    /// Digest of the head that ready workers of `class` have under this name; if they differ, the lowest one.
    pub fn head(&self, class: &WorkerClass, name: &str) -> Option<String> {
        let ready = self.workers.values().filter(|worker| worker.health.is_ready());
        let of_class =
            ready.filter_map(|worker| worker.info.as_ref()).filter(|i| class.includes(i));
        // A head reads the states of one model: the worker's own.
        let of_class = of_class.filter(|info| info.model_digest == class.model_digest);
        let heads = of_class.flat_map(|info| &info.heads).filter(|head| head.name == name);
        heads.map(|head| head.digest.clone()).min()
    }

    /// Whether a worker has reported the head with this digest.
    pub fn has_head(&self, worker: &WorkerRef, digest: &str) -> bool {
        let info = self.get(worker).and_then(|known| known.info.as_ref());
        info.is_some_and(|info| info.heads.iter().any(|head| head.digest == digest))
    }

    /// Workers of `class` that accept samples.
    pub fn candidates(&self, class: &WorkerClass) -> Vec<Candidate> {
        let of_class = |(id, worker): (&Arc<str>, &Worker)| {
            let info = worker.info.as_ref().filter(|info| class.includes(info))?;
            worker.health.is_ready().then(|| Candidate {
                worker: WorkerRef { id: Arc::clone(id), generation: worker.generation },
                load: worker
                    .in_flight
                    .max(worker.reported.running.saturating_add(worker.reported.queued)),
                capacity: worker.reported.capacity.max(1),
                room_tokens: info.room_tokens,
                context_tokens: info.context_tokens,
            })
        };
        self.workers.iter().filter_map(of_class).collect()
    }

    /// Samples that the ready workers of each model can draw at once. The capacity of a worker with several models
    /// counts in full for each of them.
    pub fn capacities(&self) -> HashMap<String, u32> {
        let mut capacities = HashMap::new();
        for worker in self.workers.values().filter(|worker| worker.health.is_ready()) {
            let Some(info) = &worker.info else { continue };
            if info.roles.contains(&WorkerRole::Grm) {
                for (model, _) in info.models() {
                    let capacity = capacities.entry(model.to_owned()).or_insert(0_u32);
                    *capacity = capacity.saturating_add(worker.reported.capacity);
                }
            }
        }
        capacities
    }

    /// Workers that accept no samples, each with the reason.
    fn left_out(&self) -> Vec<String> {
        let why = |(id, worker): (&Arc<str>, &Worker)| match worker.health.detail() {
            "" => format!("{id}: it draws no samples, its role is another"),
            detail => format!("{id}: {detail}"),
        };
        self.workers.iter().map(why).collect()
    }
}

/// The class with the most capacity among workers that serve `model`, each given with the model's digest; if classes
/// are equal, the first by name.
fn largest<'a>(
    role: WorkerRole,
    model: &str,
    serving: impl Iterator<Item = (&'a WorkerInfo, &'a str)>,
) -> Option<WorkerClass> {
    let mut capacities: BTreeMap<(&str, &str), (u32, &WorkerInfo)> = BTreeMap::new();
    for (info, digest) in serving {
        let key = (digest, info.numerics.as_str());
        let (capacity, _) = capacities.entry(key).or_insert((0_u32, info));
        *capacity = capacity.saturating_add(info.capacity.max(1));
    }
    // `max_by_key` returns the last of several maxima; reversing the order makes that the first.
    let largest = capacities.into_iter().rev().max_by_key(|(_, (capacity, _))| *capacity);
    largest.map(|((digest, _), (_, info))| WorkerClass::of(info, role, (model, digest)))
}
