//! Which pending samples go to which worker, as a pure function.
//!
//! Samples of one order share a prompt, so they stay together: a group is cut only when the
//! fleet has more free workers than the request has groups, and never below [`MIN_CHUNK`]: a
//! worker draws k samples for little more than the price of one, and pays the prefill anew.
//! A chunk goes to the less loaded of two workers drawn by `pick` (power of two choices).

use std::collections::{BTreeMap, BTreeSet};

use jury_grm::domain::SampleSpec;

use crate::fleet::{Candidate, WorkerRef};

/// Fewest samples worth a prefill of their own while the order has more.
pub const MIN_CHUNK: usize = 4;

/// One call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Who draws.
    pub worker: WorkerRef,
    /// Sample indices, all of one order.
    pub indices: Vec<u32>,
}

/// Assigns every pending sample, as long as there is a candidate.
///
/// A worker that failed a sample gets it again only if every candidate has. `pick(n)` draws a
/// number below `n`; workers are interchangeable, so what it draws never changes a verdict.
pub fn assign<'a>(
    pending: impl Iterator<Item = (&'a SampleSpec, &'a BTreeSet<String>)>,
    mut candidates: Vec<Candidate>,
    mut pick: impl FnMut(usize) -> usize,
) -> Vec<Assignment> {
    if candidates.is_empty() {
        return Vec::new();
    }
    let mut groups: BTreeMap<(&[usize], &BTreeSet<String>), Vec<u32>> = BTreeMap::new();
    for (spec, failed_on) in pending {
        groups.entry((spec.order.as_slice(), failed_on)).or_default().push(spec.index);
    }
    let n_pending: usize = groups.values().map(Vec::len).sum();
    let chunk_size = n_pending.div_ceil(candidates.len()).max(MIN_CHUNK);
    let mut assignments = Vec::new();
    for ((_, failed_on), indices) in groups {
        for chunk in indices.chunks(chunk_size) {
            let chosen = choose(&candidates, failed_on, &mut pick);
            let candidate = &mut candidates[chosen];
            candidate.load += u32::try_from(chunk.len()).expect("k is below the request's limit");
            assignments
                .push(Assignment { worker: candidate.worker.clone(), indices: chunk.to_vec() });
        }
    }
    assignments
}

fn choose(
    candidates: &[Candidate],
    failed_on: &BTreeSet<String>,
    pick: &mut impl FnMut(usize) -> usize,
) -> usize {
    let untried: Vec<usize> = (0..candidates.len())
        .filter(|&index| !failed_on.contains(&*candidates[index].worker.id))
        .collect();
    let eligible = if untried.is_empty() { (0..candidates.len()).collect() } else { untried };
    let first = pick(eligible.len());
    let second = match eligible.len() {
        1 => first,
        n => (first + 1 + pick(n - 1)) % n,
    };
    let share = |index: usize| {
        let candidate = &candidates[eligible[index]];
        f64::from(candidate.load) / f64::from(candidate.capacity.max(1))
    };
    if share(second) < share(first) { eligible[second] } else { eligible[first] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn specs(orders: &[&[usize]]) -> Vec<SampleSpec> {
        orders
            .iter()
            .enumerate()
            .map(|(i, order)| SampleSpec { index: i as u32, seed: 0, order: order.to_vec() })
            .collect()
    }

    fn idle(n: usize) -> Vec<Candidate> {
        let candidate = |i| Candidate {
            worker: WorkerRef { id: format!("w{i}").into(), generation: 0 },
            load: 0,
            capacity: 8,
            room_tokens: None,
            context_tokens: 2048,
        };
        (0..n).map(candidate).collect()
    }

    fn alternating(k: usize) -> Vec<SampleSpec> {
        let orders: Vec<&[usize]> = (0..k).map(|i| [&[0, 1][..], &[1, 0][..]][i % 2]).collect();
        specs(&orders)
    }

    #[test]
    fn one_worker_gets_each_order_whole() {
        let specs = alternating(8);
        let none = BTreeSet::new();
        let calls = assign(specs.iter().map(|spec| (spec, &none)), idle(1), |_| 0);
        let indices: Vec<_> = calls.iter().map(|call| call.indices.clone()).collect();
        assert_eq!(indices, [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
    }

    #[test]
    fn two_idle_workers_share_a_request() {
        let specs = alternating(8);
        let none = BTreeSet::new();
        let calls = assign(specs.iter().map(|spec| (spec, &none)), idle(2), |_| 0);
        assert_eq!(calls.len(), 2);
        assert_ne!(calls[0].worker, calls[1].worker);
    }

    #[test]
    fn a_worker_that_failed_a_sample_is_tried_last() {
        let specs = specs(&[&[0]]);
        let failed = BTreeSet::from(["w0".to_owned()]);
        for first in 0..2 {
            let calls = assign([(&specs[0], &failed)].into_iter(), idle(2), |n| first % n);
            assert_eq!(&*calls[0].worker.id, "w1");
        }
        let calls = assign([(&specs[0], &failed)].into_iter(), idle(1), |_| 0);
        assert_eq!(&*calls[0].worker.id, "w0");
    }

    #[test]
    fn without_a_worker_nothing_is_assigned() {
        let specs = specs(&[&[0]]);
        let none = BTreeSet::new();
        assert_eq!(assign([(&specs[0], &none)].into_iter(), Vec::new(), |_| 0), []);
    }

    proptest! {
        #[test]
        fn every_pending_sample_is_assigned_once(
            k in 1usize..64, n_workers in 1usize..9, draws in prop::collection::vec(0usize..99, 1..9),
        ) {
            let specs = alternating(k);
            let none = BTreeSet::new();
            let mut turn = 0;
            let calls = assign(specs.iter().map(|spec| (spec, &none)), idle(n_workers), |n| {
                turn += 1;
                draws[turn % draws.len()] % n
            });
            let mut indices: Vec<u32> = calls.iter().flat_map(|call| call.indices.clone()).collect();
            indices.sort_unstable();
            prop_assert_eq!(indices, (0..k as u32).collect::<Vec<_>>());
        }
    }
}
