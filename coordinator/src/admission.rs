//! Decides which requests start now, which wait, and which are rejected.
//!
//! Each model has its own queue, so that a busy large model does not hold up a small one. Requests are admitted while
//! the *samples* of the running requests stay within what the model's workers can draw (times a factor). Workers stay
//! busy, and requests queue here, where queues are bounded: by a number of requests per model, and by a number of
//! bytes over all models. Turns are taken by *tokens*: waiting tenants get tokens in proportion to their weights
//! ([`Turns`]); within a tenant, the order is first come, first served. A request's tokens are an estimate ([`Work`]),
//! corrected when the request has ended. If samples are known to take so long that the budget would run out first, the
//! request is rejected at once ([`Rates::outlook`]). A waiting request holds only its own memory; nothing is planned
//! or rendered for it yet.
//!
//! Not promised: preemption. A running request never makes room for another; turns change only between requests.

mod cost;
mod demand;
mod forecast;
mod overloaded;
mod queue;
mod room;
mod share;
mod turns;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

pub use cost::Work;
pub use demand::{Awaited, Demand, DemandMetrics};
pub use forecast::{Ask, Drawn, Forecast, Outlook, Rates};
pub use overloaded::Overloaded;
pub use queue::{Grant, Offer, Queue};
pub use room::{Held, Room};
pub use share::{DEFAULT_TENANT, Share};
pub use turns::{Size, Ticket};

/// Grants permits from one bounded queue per model.
#[derive(Debug, Clone)]
pub struct Admission {
    queue_limit: usize,
    room: Room,
    lines: Arc<Mutex<HashMap<Arc<str>, Line>>>,
    awaited: Awaited,
}

/// The right to run. Travels with the request; dropping it returns it.
#[derive(Debug)]
pub struct Permit {
    admission: Admission,
    model: Arc<str>,
    /// `Some` until the permit is dropped.
    grant: Option<Grant>,
    /// Tokens that the request took, once known.
    spent: Option<u64>,
}

/// What admission is doing now: counts of running and waiting requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdmissionLoad {
    /// Requests with a permit.
    pub running: usize,
    /// Waiting requests.
    pub waiting: usize,
}

/// One model's queue and its waiters.
#[derive(Debug)]
struct Line {
    queue: Queue,
    rates: Rates,
    waiters: HashMap<Ticket, oneshot::Sender<Permit>>,
}

/// Leaves the queue if its request goes away while waiting.
struct Waiting<'a> {
    admission: &'a Admission,
    model: &'a Arc<str>,
    tenant: &'a Arc<str>,
    ticket: Ticket,
}

// === impl Admission ===

impl Admission {
    /// Empty queues for at most `queue_limit` waiting requests per model, and at most `queue_bytes` of text over all
    /// models.
    pub fn new(queue_limit: usize, queue_bytes: usize) -> Self {
        Self {
            queue_limit,
            room: Room::new(queue_bytes),
            lines: Arc::default(),
            awaited: Awaited::default(),
        }
    }

    /// The same, for models that may have no workers for a while.
    pub fn awaiting<'a>(self, models: impl IntoIterator<Item = &'a str>) -> Self {
        Self { awaited: Awaited::new(models), ..self }
    }

    /// Samples that wait for a first worker.
    pub fn awaited(&self) -> &Awaited {
        &self.awaited
    }

    /// Current demand, by model.
    pub fn demand(&self) -> BTreeMap<Arc<str>, Demand> {
        let mut demand = BTreeMap::<Arc<str>, Demand>::new();
        for (model, line) in self.lines().iter() {
            demand.insert(Arc::clone(model), line.demand());
        }
        for (model, n_samples) in self.awaited.n_samples() {
            demand.entry(model).or_default().queued_samples += n_samples;
        }
        demand
    }

    /// Reserves room for a request of `n_bytes` of text until it is granted or answered.
    ///
    /// # Errors
    /// [`Overloaded`] when the texts of all waiting requests, or of the tenant's, would exceed the limit.
    pub fn hold(&self, share: &Share, n_bytes: usize) -> Result<Held, Overloaded> {
        self.room
            .take(share, n_bytes)
            .map_err(|no_room| Overloaded::room(no_room, &share.tenant, n_bytes))
    }

    /// The tokens that `work` for `model` is expected to take.
    pub fn tokens_of(&self, model: &str, work: Work) -> u64 {
        let lines = self.lines();
        lines
            .get(model)
            .map_or_else(|| Rates::default().tokens_of(work), |line| line.rates.tokens_of(work))
    }

    /// Waits for a permit for a request of `size` to `model`; `held` is released once the permit is granted.
    ///
    /// # Errors
    /// [`Overloaded`], at once, when the model's queue or the tenant's part of it is full.
    pub async fn admit(
        &self,
        share: &Share,
        model: &str,
        size: Size,
        held: Held,
    ) -> Result<Permit, Overloaded> {
        let model: Arc<str> = model.into();
        let (ticket, granted) = {
            let mut lines = self.lines();
            let line = lines.entry(Arc::clone(&model)).or_insert_with(|| self.line());
            match line.queue.offer(share, size) {
                Offer::Granted(grant) => return Ok(self.permit(&model, grant)),
                Offer::Full { waiting, of_tenant } => {
                    let tenant = of_tenant.then_some(&*share.tenant);
                    return Err(Overloaded::queue(waiting, tenant, &model));
                }
                Offer::Queued(ticket) => {
                    let (grant, granted) = oneshot::channel();
                    line.waiters.insert(ticket, grant);
                    (ticket, granted)
                }
            }
        };
        let _waiting = Waiting { admission: self, model: &model, tenant: &share.tenant, ticket };
        let permit = granted.await.expect("a waiter is granted before it is forgotten");
        drop(held);
        Ok(permit)
    }

    /// The outlook for a request for `model` that arrives now. While no request of the model is running, every request
    /// may try; otherwise a fleet that was slow once would never be seen to be fast again.
    pub fn outlook(&self, share: &Share, model: &str, ask: Ask) -> Outlook {
        let lines = self.lines();
        match lines.get(model) {
            Some(line) if line.queue.n_running() > 0 => {
                line.rates.outlook(ask, line.queue.line_for(share, ask.samples))
            }
            _ => Outlook::Open,
        }
    }

    /// Records samples of `model` that were drawn.
    pub fn record_drawn(&self, model: &str, drawn: Drawn) {
        if let Some(line) = self.lines().get_mut(model) {
            line.rates.record(drawn);
        }
    }

    /// Sets how many samples of each model may run at once from now on. A model that is not in `n_samples` has no
    /// known worker.
    pub fn set_capacities(&self, n_samples: &HashMap<String, u32>) {
        let mut granted = Vec::new();
        {
            let mut lines = self.lines();
            lines.retain(|model, line| {
                let is_in_use = line.queue.n_running() + line.queue.n_waiting() > 0;
                is_in_use || n_samples.contains_key(&**model)
            });
            for model in n_samples.keys() {
                lines.entry(model.as_str().into()).or_insert_with(|| self.line());
            }
            for (model, line) in lines.iter_mut() {
                let capacity = n_samples.get(&**model).copied().unwrap_or(0);
                granted.push((Arc::clone(model), line.queue.set_capacity(capacity)));
            }
        }
        for (model, grants) in granted {
            self.wake(&model, grants);
        }
    }

    /// Running and waiting requests of every tenant that has any.
    pub fn load_by_tenant(&self) -> BTreeMap<Arc<str>, AdmissionLoad> {
        let mut loads = BTreeMap::<Arc<str>, AdmissionLoad>::new();
        for line in self.lines().values() {
            for (tenant, n) in line.queue.running_by_tenant() {
                loads.entry(Arc::clone(tenant)).or_default().running += n;
            }
            for (tenant, n) in line.queue.waiting_by_tenant() {
                loads.entry(Arc::clone(tenant)).or_default().waiting += n;
            }
        }
        loads
    }

    /// Running and waiting requests over all models and tenants.
    pub fn load(&self) -> AdmissionLoad {
        let lines = self.lines();
        lines.values().fold(AdmissionLoad::default(), |load, line| AdmissionLoad {
            running: load.running + line.queue.n_running(),
            waiting: load.waiting + line.queue.n_waiting(),
        })
    }

    fn wake(&self, model: &Arc<str>, granted: Vec<Grant>) {
        for grant in granted {
            let waiter = {
                let mut lines = self.lines();
                let line = lines.get_mut(model);
                line.zip(grant.ticket).and_then(|(line, ticket)| line.waiters.remove(&ticket))
            };
            let permit = self.permit(model, grant);
            if let Some(waiter) = waiter {
                // If the waiter has just left, dropping the permit returns it.
                drop(waiter.send(permit));
            }
        }
    }

    fn permit(&self, model: &Arc<str>, grant: Grant) -> Permit {
        Permit {
            admission: self.clone(),
            model: Arc::clone(model),
            grant: Some(grant),
            spent: None,
        }
    }

    fn line(&self) -> Line {
        let queue = Queue::new(self.queue_limit);
        Line { queue, rates: Rates::default(), waiters: HashMap::new() }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Arc<str>, Line>> {
        self.lines.lock()
    }
}

// === impl Line ===

impl Line {
    fn demand(&self) -> Demand {
        Demand {
            admitted_samples: u64::from(self.queue.running_samples()),
            queued_samples: self.queue.waiting_samples(),
            a_sample: self.rates.of_sample(u32::MAX),
            places: self.queue.capacity_samples(),
        }
    }
}

// === impl Permit ===

impl Permit {
    /// The request took `tokens`: the charge to its tenant is corrected.
    pub fn settle(&mut self, tokens: u64) {
        self.spent = Some(tokens);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(grant) = self.grant.take() else { return };
        let granted = match self.admission.lines().get_mut(&self.model) {
            Some(line) => line.queue.release(grant, self.spent),
            None => Vec::new(),
        };
        self.admission.wake(&self.model, granted);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (waiter, granted) = match self.admission.lines().get_mut(self.model) {
            Some(line) => {
                let granted = line.queue.leave(self.tenant, self.ticket);
                (line.waiters.remove(&self.ticket), granted)
            }
            None => (None, Vec::new()),
        };
        drop(waiter);
        self.admission.wake(self.model, granted);
    }
}

#[cfg(test)]
mod tests;
