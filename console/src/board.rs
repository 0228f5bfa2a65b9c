//! What the console knows: an observer of the coordinator, in memory.
//!
//! ```text
//! coordinator ── Seen ──> Board: running (requests in flight)  ──> pages, for the tenant that asks
//!                                shelves (one a tenant: figures of the last verdicts, texts of fewer)
//! ```
//!
//! Texts of a request in flight are in the coordinator's memory anyway and are released with it; those of a verdict
//! are kept only within [`Limits`]. Nothing is written to disk. Readers get copies or shared parts and never hold the
//! lock while they render a page. A slow reader misses steps, and catches up with its next read.

mod running;
mod shelf;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use jury_coordinator::observe::{Observer, RequestNumber, Seen};
use jury_coordinator::tenants::Tenants;
use jury_grm::domain::Verdict;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use running::{Running, Slot};
pub use shelf::{Case, Figures, Shelf};

/// How much of each tenant's verdicts may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of verdicts whose texts are kept; 0 keeps none.
    pub verdicts: usize,
    /// Total bytes of these texts; the oldest are dropped first.
    pub bytes: usize,
}

/// What the console knows.
#[derive(Debug)]
pub struct Board {
    limits: Limits,
    /// Determines whose verdicts may be kept.
    tenants: Tenants,
    state: Mutex<State>,
    /// Incremented on every event.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<RequestNumber, Running>,
    shelves: HashMap<Arc<str>, Shelf>,
}

/// The state of a request.
#[derive(Debug)]
pub enum Found {
    /// It is in flight.
    Running(Box<Running>),
    /// It is judged.
    Judged(Arc<Figures>, Option<Arc<Case>>),
}

// === impl Limits ===

impl Limits {
    /// Maximum bytes of texts kept for one tenant.
    pub const BYTES: usize = 64 << 20;

    /// Keeps the texts of this many verdicts.
    pub fn of(verdicts: usize) -> Self {
        Self { verdicts, bytes: Self::BYTES }
    }
}

// === impl Board ===

impl Board {
    /// An empty board, for the tenants of the coordinator.
    pub fn new(limits: Limits, tenants: Tenants) -> Self {
        Self { limits, tenants, state: Mutex::default(), changed: watch::channel(0).0 }
    }

    /// The limits of what is kept.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Notifies on every event.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The `tenant`'s requests in flight, oldest first: the first `most` of them, and their total number.
    pub fn running(&self, tenant: &str, most: usize) -> (Vec<Running>, usize) {
        let state = self.state.lock();
        let of_tenant = || state.running.values().filter(|running| &*running.tenant == tenant);
        (of_tenant().take(most).cloned().collect(), of_tenant().count())
    }

    /// The last verdicts of `tenant`, newest first, and whether each can be opened.
    pub fn recent(&self, tenant: &str) -> Vec<(Arc<Figures>, bool)> {
        let mut state = self.state.lock();
        state.forget_strangers(&self.tenants);
        state.shelves.get(tenant).map(Shelf::newest_first).unwrap_or_default()
    }

    /// A request, if it belongs to `tenant` and is still known.
    pub fn find(&self, tenant: &str, number: RequestNumber) -> Option<Found> {
        let mut state = self.state.lock();
        state.forget_strangers(&self.tenants);
        if let Some(running) = state.running.get(&number) {
            let is_theirs = &*running.tenant == tenant;
            return is_theirs.then(|| Found::Running(Box::new(running.clone())));
        }
        let (figures, case) = state.shelves.get(tenant)?.find(number)?;
        Some(Found::Judged(figures, case))
    }

    /// How many events a request in flight has had; `None` once it is over, or if it does not belong to `tenant`.
    pub fn revision(&self, tenant: &str, number: RequestNumber) -> Option<u64> {
        let state = self.state.lock();
        let running = state.running.get(&number)?;
        (&*running.tenant == tenant).then_some(running.revision)
    }

    /// Replaces a request by its verdict.
    fn judged(&self, number: RequestNumber, verdict: &Verdict) {
        let Some(running) = self.state.lock().running.remove(&number) else { return };
        let Running { tenant, request, .. } = running;
        let figures = Figures::of(number, &request, verdict, SystemTime::now());
        // Outside the lock, because it copies texts.
        let case = (self.limits.verdicts > 0).then(|| Case::of(request, verdict));
        let mut state = self.state.lock();
        let shelf = state.shelves.entry(tenant).or_insert_with(|| Shelf::new(self.limits));
        shelf.put(figures, case);
        state.forget_strangers(&self.tenants);
    }
}

// === impl State ===

impl State {
    /// Removes everything kept of tenants that are no longer in the tenants file, or whose texts may no longer be kept.
    fn forget_strangers(&mut self, tenants: &Tenants) {
        self.shelves.retain(|name, _| tenants.keep_texts_of(name));
    }
}

impl Observer for Board {
    fn observe(&self, number: RequestNumber, seen: Seen<'_>) {
        match seen {
            Seen::Came { tenant, request } => {
                let running = Running::new(number, Arc::clone(tenant), Arc::clone(request));
                self.state.lock().running.insert(number, running);
            }
            Seen::Judged(verdict) => self.judged(number, verdict),
            Seen::Gone => drop(self.state.lock().running.remove(&number)),
            other => {
                if let Some(running) = self.state.lock().running.get_mut(&number) {
                    running.record(&other);
                }
            }
        }
        self.changed.send_modify(|n| *n += 1);
    }
}
