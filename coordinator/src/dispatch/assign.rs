//! Which waiting samples go to which worker, as a pure function.
//!
//! Samples of one order share a prompt, so they stay together. A group is cut only as far as there are free workers to
//! share it, and never below [`MIN_CHUNK`]: a worker draws k samples for little more than the cost of one, and every
//! cut costs another prefill. A chunk goes to the less loaded of two workers drawn by `pick` (power of two choices),
//! free workers first.

use std::collections::{BTreeMap, BTreeSet};

use super::Waiting;
use crate::fleet::{Candidate, WorkerRef};

/// Fewest samples worth their own prefill while the order has more.
pub const MIN_CHUNK: usize = 4;

/// A call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Who draws.
    pub worker: WorkerRef,
    /// Sample indices, all of one order.
    pub indices: Vec<u32>,
}

/// What to do about the waiting samples. Samples in neither list keep waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignments {
    /// Calls to make.
    pub calls: Vec<Assignment>,
    /// Samples that fit into no present worker's memory.
    pub too_large: Vec<u32>,
}

/// Assigns every waiting sample for which there is a candidate that `may_ask` allows.
///
/// A worker that failed a sample gets it again only if no other worker may be asked; a worker whose memory it does not
/// fit never does. `pick(n)` draws a number below `n`; workers are interchangeable, so its choice never changes a
/// verdict.
pub fn assign<'a>(
    waiting: impl Iterator<Item = Waiting<'a>>,
    candidates: &[Candidate],
    may_ask: impl Fn(&WorkerRef) -> bool,
    mut pick: impl FnMut(usize) -> usize,
) -> Assignments {
    let mut assignments = Assignments::default();
    if candidates.is_empty() {
        return assignments;
    }
    let mut groups: BTreeMap<GroupKey<'a>, Vec<u32>> = BTreeMap::new();
    for sample in waiting {
        groups.entry(GroupKey::of(&sample)).or_default().push(sample.spec.index);
    }
    let mut places: Vec<Place<'_>> = candidates.iter().map(Place::of).collect();
    let askable: BTreeSet<&WorkerRef> =
        candidates.iter().map(|c| &c.worker).filter(|worker| may_ask(worker)).collect();
    let n_waiting: usize = groups.values().map(Vec::len).sum();
    let n_free = places.iter().filter(|p| p.is_free() && askable.contains(p.worker)).count();
    let chunk_size = n_waiting.div_ceil(n_free.max(1)).max(MIN_CHUNK);
    for (key, indices) in groups {
        let fitting: Vec<usize> = (0..places.len()).filter(|&i| key.fits(&places[i])).collect();
        if fitting.is_empty() {
            assignments.too_large.extend(indices);
            continue;
        }
        let askable: Vec<usize> =
            fitting.into_iter().filter(|&i| askable.contains(places[i].worker)).collect();
        if askable.is_empty() {
            continue;
        }
        // Without a free worker, a cut costs a prefill and gains nothing.
        let chunk_size = if n_free == 0 { indices.len() } else { chunk_size };
        for chunk in indices.chunks(chunk_size) {
            let chosen = choose(&places, &askable, key.failed_on, &mut pick);
            places[chosen].load += chunk.len() as u64;
            let worker = places[chosen].worker.clone();
            assignments.calls.push(Assignment { worker, indices: chunk.to_vec() });
        }
    }
    assignments
}

/// Samples with the same prompt and the same history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey<'a> {
    order: &'a [usize],
    failed_on: &'a BTreeSet<WorkerRef>,
    too_large_for: &'a BTreeSet<WorkerRef>,
    needed_tokens: u32,
}

/// A candidate and the load assigned to it so far.
#[derive(Debug)]
struct Place<'a> {
    worker: &'a WorkerRef,
    load: u64,
    capacity: u32,
    room_tokens: Option<u32>,
}

// === impl GroupKey ===

impl<'a> GroupKey<'a> {
    fn of(sample: &Waiting<'a>) -> Self {
        Self {
            order: &sample.spec.order,
            failed_on: sample.failed_on,
            too_large_for: sample.too_large_for,
            needed_tokens: sample.needed_tokens,
        }
    }

    fn fits(&self, place: &Place<'_>) -> bool {
        let has_room = place.room_tokens.is_none_or(|room| room >= self.needed_tokens);
        has_room && !self.too_large_for.contains(place.worker)
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    fn of(candidate: &'a Candidate) -> Self {
        Self {
            worker: &candidate.worker,
            load: candidate.load.into(),
            capacity: candidate.capacity.max(1),
            room_tokens: candidate.room_tokens,
        }
    }

    fn is_free(&self) -> bool {
        self.load < u64::from(self.capacity)
    }

    fn share(&self) -> f64 {
        self.load as f64 / f64::from(self.capacity)
    }
}

/// Workers that have not failed the sample come first, then free ones before full ones.
fn choose(
    places: &[Place<'_>],
    askable: &[usize],
    failed_on: &BTreeSet<WorkerRef>,
    pick: &mut impl FnMut(usize) -> usize,
) -> usize {
    let mut eligible: Vec<usize> = askable.to_vec();
    let untried = |&i: &usize| !failed_on.contains(places[i].worker);
    let free = |&i: &usize| places[i].is_free();
    for is_better in [&untried as &dyn Fn(&usize) -> bool, &free] {
        if eligible.iter().any(is_better) {
            eligible.retain(is_better);
        }
    }
    let first = pick(eligible.len());
    let second = match eligible.len() {
        1 => first,
        n => (first + 1 + pick(n - 1)) % n,
    };
    let (first, second) = (eligible[first], eligible[second]);
    if places[second].share() < places[first].share() { second } else { first }
}

#[cfg(test)]
#[path = "assign/tests.rs"]
mod tests;
