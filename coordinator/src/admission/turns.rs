//! Whose turn it is among waiting tenants: deficit round robin (Shreedhar and Varghese, 1995), pure.
//!
//! ```text
//! a tenant's turn:  its credit grows by QUANTUM x weight; requests go while the credit covers their tokens
//! its turn is over: the first request costs more than is left, which is kept for the next round
//! nothing waits:    the credit is dropped: a tenant cannot save up while idle
//! ```
//!
//! Tenants with a backlog get tokens in proportion to their weights, whatever the sizes of their requests. Within a
//! tenant, the order is first come, first served. A request's tokens are an estimate; [`Turns::settle`] corrects the
//! error, as long as the tenant still has requests waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Tokens of credit per round, at weight 1. Smaller than most requests, so that turns change often; small rounds cost
/// nothing, since rounds in which no request goes are skipped.
pub const QUANTUM: i64 = 4096;

/// Larger requests count as this many tokens, so that credits cannot overflow.
const MOST_TOKENS: u64 = 1 << 40;

/// Identifies a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// The size of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Samples: the unit of what workers draw at once.
    pub samples: u32,
    /// Tokens, estimated: the unit that tenants are charged in.
    pub tokens: u64,
}

/// Waiting requests by tenant, and whose turn it is.
#[derive(Debug, Default)]
pub struct Turns {
    backlogs: HashMap<Arc<str>, Backlog>,
    /// Every tenant with a backlog; it is the first one's turn.
    ring: VecDeque<Arc<str>>,
    /// Whether the first has been given the credit of its turn.
    is_credited: bool,
    n_waiting: usize,
}

#[derive(Debug)]
struct Backlog {
    weight: u32,
    credit: i64,
    waiting: VecDeque<(Ticket, Size)>,
    samples: u64,
}

// === impl Turns ===

impl Turns {
    /// A request of `tenant` starts to wait.
    pub fn push(&mut self, tenant: &Arc<str>, weight: u32, ticket: Ticket, size: Size) {
        let backlog = self.backlogs.entry(Arc::clone(tenant)).or_insert_with(|| {
            self.ring.push_back(Arc::clone(tenant));
            Backlog { weight, credit: 0, waiting: VecDeque::new(), samples: 0 }
        });
        backlog.weight = weight.max(1);
        backlog.waiting.push_back((ticket, size));
        backlog.samples += u64::from(size.samples);
        self.n_waiting += 1;
    }

    /// The request that goes next; the same until it is popped or leaves.
    pub fn upcoming(&mut self) -> Option<Size> {
        let mut n_passed = 0;
        loop {
            let first = self.ring.front()?;
            let backlog = self.backlogs.get_mut(first).expect("who is in the ring waits");
            let &(_, size) = backlog.waiting.front().expect("a backlog is not empty");
            if backlog.credit >= cost(size) {
                return Some(size);
            }
            if !self.is_credited {
                backlog.credit += backlog.quantum();
                self.is_credited = true;
                continue;
            }
            self.is_credited = false;
            self.ring.rotate_left(1);
            n_passed += 1;
            if n_passed == self.ring.len() {
                self.skip_rounds();
                n_passed = 0;
            }
        }
    }

    /// Takes out the request that goes next.
    pub fn pop(&mut self) -> Option<(Arc<str>, Ticket, Size)> {
        self.upcoming()?;
        let tenant = Arc::clone(self.ring.front()?);
        let backlog = self.backlogs.get_mut(&tenant)?;
        let (ticket, size) = backlog.waiting.pop_front()?;
        backlog.credit -= cost(size);
        self.forget(&tenant, size);
        Some((tenant, ticket, size))
    }

    /// A request goes away; does nothing if it is no longer here.
    pub fn leave(&mut self, tenant: &Arc<str>, ticket: Ticket) {
        let Some(backlog) = self.backlogs.get_mut(tenant) else { return };
        let place = backlog.waiting.iter().position(|(waiting, _)| *waiting == ticket);
        if let Some((_, size)) = place.and_then(|place| backlog.waiting.remove(place)) {
            self.forget(tenant, size);
        }
    }

    /// A request that was charged `estimated` tokens took `spent`.
    pub fn settle(&mut self, tenant: &Arc<str>, estimated: u64, spent: u64) {
        if let Some(backlog) = self.backlogs.get_mut(tenant) {
            backlog.credit += bounded(estimated) - bounded(spent);
        }
    }

    /// Samples of all waiting requests.
    pub fn n_samples(&self) -> u64 {
        self.backlogs.values().map(|backlog| backlog.samples).sum()
    }

    /// Waiting requests.
    pub fn n_waiting(&self) -> usize {
        self.n_waiting
    }

    /// Waiting requests of one tenant.
    pub fn n_waiting_of(&self, tenant: &str) -> usize {
        self.backlogs.get(tenant).map_or(0, |backlog| backlog.waiting.len())
    }

    /// Every waiting tenant, with its number of requests.
    pub fn by_tenant(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.backlogs.iter().map(|(tenant, backlog)| (tenant, backlog.waiting.len()))
    }

    /// Samples expected to go before those of a request that joins now: all that its own tenant has waiting, and what
    /// every other tenant sends in the meantime. Samples stand for tokens here.
    pub fn samples_ahead(&self, tenant: &str, weight: u32, n_samples: u32) -> u64 {
        let own = self.backlogs.get(tenant).map_or(0, |backlog| backlog.samples);
        let until_served = own + u64::from(n_samples);
        let others = self.backlogs.iter().filter(|(name, _)| &***name != tenant);
        let meanwhile = others.map(|(_, other)| {
            let share = until_served * u64::from(other.weight) / u64::from(weight.max(1));
            share.min(other.samples)
        });
        own + meanwhile.sum::<u64>()
    }

    /// Gives everybody the credit of all the rounds in which no request could go.
    fn skip_rounds(&mut self) {
        let rounds_missing = |backlog: &Backlog| {
            let missing =
                backlog.waiting.front().map_or(0, |(_, size)| cost(*size)) - backlog.credit;
            missing.max(0).div_euclid(backlog.quantum())
        };
        // One round less than the first tenant to go needs; that last round then runs as usual.
        let rounds = self.backlogs.values().map(rounds_missing).min().unwrap_or(0) - 1;
        if rounds > 0 {
            for backlog in self.backlogs.values_mut() {
                backlog.credit += rounds * backlog.quantum();
            }
        }
    }

    /// One request of `tenant` no longer waits.
    fn forget(&mut self, tenant: &Arc<str>, size: Size) {
        self.n_waiting -= 1;
        let Some(backlog) = self.backlogs.get_mut(tenant) else { return };
        backlog.samples -= u64::from(size.samples);
        if !backlog.waiting.is_empty() {
            return;
        }
        self.backlogs.remove(tenant);
        if self.ring.front() == Some(tenant) {
            self.ring.pop_front();
            self.is_credited = false;
        } else {
            self.ring.retain(|waiting| waiting != tenant);
        }
    }
}

// === impl Backlog ===

impl Backlog {
    fn quantum(&self) -> i64 {
        QUANTUM * i64::from(self.weight.max(1))
    }
}

fn cost(size: Size) -> i64 {
    bounded(size.tokens).max(1)
}

fn bounded(tokens: u64) -> i64 {
    i64::try_from(tokens.min(MOST_TOKENS)).expect("far below")
}

#[cfg(test)]
mod tests;
