use jury_grm::domain::SampleSpec;
use proptest::prelude::*;

use super::*;

fn specs(orders: &[&[usize]]) -> Vec<SampleSpec> {
    let indexed = orders.iter().zip(0..);
    indexed.map(|(order, index)| SampleSpec { index, seed: 0, order: order.to_vec() }).collect()
}

fn alternating(k: usize) -> Vec<SampleSpec> {
    let orders: Vec<&[usize]> = (0..k).map(|i| [&[0, 1][..], &[1, 0][..]][i % 2]).collect();
    specs(&orders)
}

fn worker(i: usize) -> WorkerRef {
    WorkerRef { id: format!("w{i}").into(), generation: 0 }
}

/// Workers of 8 places with these loads.
fn loaded(loads: &[u32]) -> Vec<Candidate> {
    let indexed = loads.iter().enumerate();
    indexed
        .map(|(i, &load)| Candidate {
            worker: worker(i),
            load,
            capacity: 8,
            room_tokens: None,
            context_tokens: 0,
        })
        .collect()
}

/// The history of every sample.
#[derive(Default)]
struct Past {
    failed_on: BTreeSet<WorkerRef>,
    too_large_for: BTreeSet<WorkerRef>,
    needed_tokens: u32,
}

fn assign_all(
    specs: &[SampleSpec],
    past: &Past,
    candidates: &[Candidate],
    pick: impl FnMut(usize) -> usize,
) -> Assignments {
    let waiting = specs.iter().map(|spec| Waiting {
        spec,
        failed_on: &past.failed_on,
        too_large_for: &past.too_large_for,
        needed_tokens: past.needed_tokens,
    });
    assign(waiting, candidates, |_| true, pick)
}

fn sizes(assignments: &Assignments) -> Vec<usize> {
    assignments.calls.iter().map(|call| call.indices.len()).collect()
}

#[test]
fn one_worker_gets_each_order_whole() {
    let assigned = assign_all(&alternating(8), &Past::default(), &loaded(&[0]), |_| 0);
    let indices: Vec<_> = assigned.calls.iter().map(|call| call.indices.clone()).collect();
    assert_eq!(indices, [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
}

#[test]
fn two_idle_workers_share_a_request() {
    let calls = assign_all(&alternating(8), &Past::default(), &loaded(&[0, 0]), |_| 0).calls;
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].worker, calls[1].worker);
}

#[test]
fn groups_are_cut_for_free_workers_only() {
    let specs = specs(&[&[0, 1][..]; 16]);
    let past = Past::default();
    assert_eq!(sizes(&assign_all(&specs, &past, &loaded(&[0, 0, 0, 0]), |_| 0)), [4, 4, 4, 4]);
    assert_eq!(sizes(&assign_all(&specs, &past, &loaded(&[0, 8, 9, 0]), |_| 0)), [8, 8]);
    assert_eq!(sizes(&assign_all(&specs, &past, &loaded(&[8, 9, 8, 8]), |_| 0)), [16]);
}

#[test]
fn a_full_worker_gets_nothing_while_another_is_free() {
    let specs = specs(&[&[0, 1][..]; 8]);
    for first in 0..2 {
        let calls = assign_all(&specs, &Past::default(), &loaded(&[8, 0]), |n| first % n).calls;
        assert!(calls.iter().all(|call| call.worker == worker(1)), "{calls:?}");
    }
}

#[test]
fn a_worker_that_failed_a_sample_is_tried_last() {
    let specs = specs(&[&[0]]);
    let past = Past { failed_on: BTreeSet::from([worker(0)]), ..Past::default() };
    for first in 0..2 {
        let calls = assign_all(&specs, &past, &loaded(&[0, 7]), |n| first % n).calls;
        assert_eq!(calls[0].worker, worker(1));
    }
    assert_eq!(assign_all(&specs, &past, &loaded(&[0]), |_| 0).calls[0].worker, worker(0));
}

#[test]
fn without_a_worker_nothing_is_assigned_and_nothing_is_too_large() {
    let assigned = assign_all(&specs(&[&[0]]), &Past::default(), &[], |_| 0);
    assert_eq!(assigned, Assignments::default());
}

#[test]
fn what_is_too_large_for_one_worker_goes_to_one_with_more_room() {
    let specs = specs(&[&[0]]);
    let mut candidates = loaded(&[0, 0, 5]);
    candidates[1].room_tokens = Some(99);
    candidates[2].room_tokens = Some(100);
    let past =
        Past { too_large_for: BTreeSet::from([worker(0)]), needed_tokens: 100, ..Past::default() };
    for first in 0..3 {
        let calls = assign_all(&specs, &past, &candidates, |n| first % n).calls;
        assert_eq!(calls[0].worker, worker(2));
    }
    let assigned = assign_all(&specs, &past, &candidates[..2], |_| 0);
    assert_eq!(assigned, Assignments { calls: Vec::new(), too_large: vec![0] });
}

#[test]
fn what_would_fit_a_worker_that_is_left_alone_waits_for_it() {
    let specs = specs(&[&[0]]);
    let (failed_on, too_large_for) = (BTreeSet::new(), BTreeSet::from([worker(0)]));
    let waiting = Waiting {
        spec: &specs[0],
        failed_on: &failed_on,
        too_large_for: &too_large_for,
        needed_tokens: 100,
    };
    let assigned =
        assign([waiting].into_iter(), &loaded(&[0, 0]), |asked| *asked != worker(1), |_| 0);
    assert_eq!(assigned, Assignments::default());
}

proptest! {
    #[test]
    fn every_waiting_sample_is_assigned_once(
        k in 1usize..64,
        loads in prop::collection::vec(0u32..16, 1..9),
        draws in prop::collection::vec(0usize..99, 1..9),
    ) {
        let mut turn = 0;
        let assigned = assign_all(&alternating(k), &Past::default(), &loaded(&loads), |n| {
            turn += 1;
            draws[turn % draws.len()] % n
        });
        let mut indices: Vec<u32> =
            assigned.calls.iter().flat_map(|call| call.indices.clone()).collect();
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..k as u32).collect::<Vec<_>>());
        prop_assert_eq!(assigned.too_large, Vec::<u32>::new());
    }
}
