//! One model's admission queue as a state machine: it knows tickets, tenants and sizes, but no time and no tasks.
//!
//! It counts two things. *Samples* decide what fits: requests run while their samples stay within what workers draw at
//! once. *Tokens* decide whose turn it is ([`Turns`]). The request whose turn it is waits for room, and nothing
//! overtakes it, so small requests never starve a large one. Whenever the next request fits, it runs.

use std::collections::HashMap;
use std::sync::Arc;

use super::forecast::Line;
use super::share::Share;
use super::turns::{Size, Ticket, Turns};

/// Samples that may always run: an unknown fleet must not block the first requests, which wait for it elsewhere.
const LEAST_CAPACITY: u32 = 64;

/// A running request. It is given back by value, so at most once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what runs has to be released"]
pub struct Grant {
    /// The tenant of the request.
    pub tenant: Arc<str>,
    /// The ticket under which it waited, if it did.
    pub ticket: Option<Ticket>,
    /// What it takes.
    pub size: Size,
}

/// The answer to a request that asks to start.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// It runs.
    Granted(Grant),
    /// It waits.
    Queued(Ticket),
    /// It is rejected: the queue is full.
    Full {
        /// Waiting requests: of its tenant, or of all.
        waiting: usize,
        /// Whether the tenant's own part of the queue is full, rather than the whole queue.
        of_tenant: bool,
    },
}

/// Fair between tenants; first come, first served within a tenant; bounded by a number of running samples.
#[derive(Debug)]
pub struct Queue {
    capacity_samples: u32,
    running_samples: u32,
    n_running: usize,
    /// Running requests of every tenant that has any.
    running_by_tenant: HashMap<Arc<str>, usize>,
    turns: Turns,
    queue_limit: usize,
    next_ticket: u64,
}

// === impl Queue ===

impl Queue {
    /// An empty queue for at most `queue_limit` waiting requests.
    pub fn new(queue_limit: usize) -> Self {
        Self {
            capacity_samples: LEAST_CAPACITY,
            running_samples: 0,
            n_running: 0,
            running_by_tenant: HashMap::new(),
            turns: Turns::default(),
            queue_limit,
            next_ticket: 0,
        }
    }

    /// A request of `size` asks to start.
    pub fn offer(&mut self, share: &Share, size: Size) -> Offer {
        if self.turns.n_waiting() == 0 && self.fits(size) {
            return Offer::Granted(self.start(Arc::clone(&share.tenant), None, size));
        }
        let of_tenant = self.turns.n_waiting_of(&share.tenant);
        if of_tenant >= share.of(self.queue_limit) {
            return Offer::Full { waiting: of_tenant, of_tenant: !share.is_all() };
        }
        if self.turns.n_waiting() >= self.queue_limit {
            return Offer::Full { waiting: self.turns.n_waiting(), of_tenant: false };
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.turns.push(&share.tenant, share.weight, ticket, size);
        Offer::Queued(ticket)
    }

    /// A running request ended; `spent` is how many tokens it took, if known. Returns the requests that may run now.
    pub fn release(&mut self, grant: Grant, spent: Option<u64>) -> Vec<Grant> {
        let Grant { tenant, size, .. } = grant;
        self.running_samples -= size.samples;
        self.n_running -= 1;
        if let Some(spent) = spent {
            self.turns.settle(&tenant, size.tokens, spent);
        }
        if let Some(n_running) = self.running_by_tenant.get_mut(&tenant) {
            *n_running -= 1;
            if *n_running == 0 {
                self.running_by_tenant.remove(&tenant);
            }
        }
        self.admit_waiting()
    }

    /// A waiting request goes away; a request that was granted already is no longer here. Returns the requests that
    /// may run now: the one that left may have been too large for the available room.
    pub fn leave(&mut self, tenant: &Arc<str>, ticket: Ticket) -> Vec<Grant> {
        self.turns.leave(tenant, ticket);
        self.admit_waiting()
    }

    /// The fleet can draw `n_samples` at once from now on. Returns the requests that may run now.
    pub fn set_capacity(&mut self, n_samples: u32) -> Vec<Grant> {
        self.capacity_samples = n_samples.max(LEAST_CAPACITY);
        self.admit_waiting()
    }

    /// The queue as seen by a request of `n_samples` that joins now.
    pub fn line_for(&self, share: &Share, n_samples: u32) -> Line {
        let ahead = match self.turns.n_waiting() {
            0 => 0,
            _ => self.turns.samples_ahead(&share.tenant, share.weight, n_samples),
        };
        Line {
            places: self.capacity_samples,
            waiting_samples: u32::try_from(ahead).unwrap_or(u32::MAX),
        }
    }

    /// Running requests.
    pub fn n_running(&self) -> usize {
        self.n_running
    }

    /// Waiting requests.
    pub fn n_waiting(&self) -> usize {
        self.turns.n_waiting()
    }

    /// Samples of running requests.
    pub fn running_samples(&self) -> u32 {
        self.running_samples
    }

    /// Samples of waiting requests.
    pub fn waiting_samples(&self) -> u64 {
        self.turns.n_samples()
    }

    /// Samples that may run at once.
    pub fn capacity_samples(&self) -> u32 {
        self.capacity_samples
    }

    /// Running requests of every tenant that has any.
    pub fn running_by_tenant(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.running_by_tenant.iter().map(|(tenant, n)| (tenant, *n))
    }

    /// Waiting requests of every tenant that has any.
    pub fn waiting_by_tenant(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.turns.by_tenant()
    }

    /// A request larger than the whole capacity runs alone.
    fn fits(&self, size: Size) -> bool {
        self.n_running == 0 || self.running_samples + size.samples <= self.capacity_samples
    }

    fn start(&mut self, tenant: Arc<str>, ticket: Option<Ticket>, size: Size) -> Grant {
        self.running_samples += size.samples;
        self.n_running += 1;
        *self.running_by_tenant.entry(Arc::clone(&tenant)).or_default() += 1;
        Grant { tenant, ticket, size }
    }

    fn admit_waiting(&mut self) -> Vec<Grant> {
        let mut admitted = Vec::new();
        while let Some(size) = self.turns.upcoming() {
            if !self.fits(size) {
                break;
            }
            let Some((tenant, ticket, size)) = self.turns.pop() else { break };
            admitted.push(self.start(tenant, Some(ticket), size));
        }
        admitted
    }
}

#[cfg(test)]
mod tests;
