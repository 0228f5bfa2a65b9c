use std::collections::BTreeSet;

use jury_grm::domain::SampleSpec;
use proptest::prelude::*;

use super::*;
use crate::dispatch::CallId;

const SECOND: Duration = Duration::from_secs(1);
/// 100 tokens in 10 seconds.
const TYPICAL: Typical = Typical { tokens: 100, took: Duration::from_secs(10) };

fn worker(id: &str) -> WorkerRef {
    WorkerRef { id: id.into(), generation: 0 }
}

/// A worker of 8 places.
fn candidate(id: &str, load: u32) -> Candidate {
    let worker = worker(id);
    Candidate { worker, load, capacity: 8, room_tokens: None, context_tokens: 0 }
}

/// A sample of `tokens` after `seconds`, at worker "slow".
#[derive(Debug, Clone)]
struct Sample {
    spec: SampleSpec,
    attempt: Attempt,
    failed_on: BTreeSet<WorkerRef>,
    too_large_for: BTreeSet<WorkerRef>,
    needed_tokens: u32,
}

fn sample(index: u32, tokens: u32, seconds: u32, now: Instant) -> Sample {
    let started = now - seconds * SECOND;
    Sample {
        spec: SampleSpec { index, seed: 0, order: vec![0, 1] },
        attempt: Attempt {
            call: CallId(0),
            worker: worker("slow"),
            started,
            decoding_since: (tokens > 0).then_some(started),
            tokens,
        },
        failed_on: BTreeSet::new(),
        too_large_for: BTreeSet::new(),
        needed_tokens: 0,
    }
}

fn hedge(samples: &[Sample], candidates: &[Candidate], now: Instant) -> Vec<(String, Vec<u32>)> {
    let underway = samples.iter().map(|sample| Underway {
        sample: Waiting {
            spec: &sample.spec,
            failed_on: &sample.failed_on,
            too_large_for: &sample.too_large_for,
            needed_tokens: sample.needed_tokens,
        },
        attempt: &sample.attempt,
    });
    let calls = hedges(underway, TYPICAL, candidates, |worker| *worker.id != *"shy", now);
    calls.into_iter().map(|call| (call.worker.id.to_string(), call.indices)).collect()
}

fn clock() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn nothing_is_typical_before_half_has_finished() {
    let mut pace = Pace::default();
    assert_eq!(pace.typical(0), None);
    for (tokens, seconds) in [(90, 9), (100, 10), (300, 30)] {
        assert_eq!(pace.typical(6), None);
        pace.record(tokens, seconds * SECOND);
    }
    assert_eq!(pace.typical(6), Some(TYPICAL));
    assert_eq!(pace.typical(7), None);
}

#[test]
fn long_samples_are_no_stragglers_and_slow_ones_are() {
    let now = clock();
    let at = |tokens, seconds| TYPICAL.is_straggler(&sample(0, tokens, seconds, now).attempt, now);
    assert!(!at(1_000, 100), "long, at the rate of the others");
    assert!(!at(400, 100), "less than three times slower");
    assert!(at(30, 10) && at(300, 100), "three times slower");
    assert!(!at(1, 9), "not yet as long as the others took");
    assert!(!at(0, 29), "it may be of a worker that tells no tokens");
    assert!(at(0, 30), "that is long enough for those, too");
}

#[test]
fn a_sample_that_waited_for_a_place_on_its_worker_is_not_blamed_for_that() {
    let now = clock();
    let Sample { mut attempt, .. } = sample(0, 50, 29, now);
    attempt.decoding_since = Some(now - 5 * SECOND);
    assert!(!TYPICAL.is_straggler(&attempt, now));
}

#[test]
fn samples_that_end_at_once_are_not_worth_it() {
    let instant = Typical { tokens: 100, took: Duration::ZERO };
    let now = clock();
    let attempt = sample(0, 1, 0, now).attempt;
    assert!(!instant.is_straggler(&attempt, now + Duration::from_millis(99)));
    assert!(instant.is_straggler(&attempt, now + Duration::from_millis(100)));
}

#[test]
fn stragglers_of_an_order_go_together_as_far_as_there_are_places() {
    let now = clock();
    let samples: Vec<Sample> = (0..6).map(|index| sample(index, 5, 20, now)).collect();
    let candidates = [candidate("slow", 0), candidate("a", 6), candidate("b", 5)];
    let expected = [("b".to_owned(), vec![0, 1, 2]), ("a".to_owned(), vec![3, 4])];
    assert_eq!(hedge(&samples, &candidates, now), expected, "the last one finds no place");
}

#[test]
fn nobody_is_given_what_it_cannot_draw() {
    let now = clock();
    let mut straggler = sample(0, 5, 20, now);
    straggler.failed_on.insert(worker("failed"));
    straggler.too_large_for.insert(worker("told"));
    straggler.needed_tokens = 900;
    let small = Candidate { room_tokens: Some(899), ..candidate("small", 0) };
    let mut candidates: Vec<Candidate> =
        ["slow", "failed", "told", "shy"].map(|id| candidate(id, 0)).into();
    candidates.extend([small, candidate("full", 8)]);
    assert_eq!(hedge(std::slice::from_ref(&straggler), &candidates, now), []);
    candidates.push(Candidate { room_tokens: Some(900), ..candidate("fits", 7) });
    assert_eq!(hedge(&[straggler], &candidates, now), [("fits".to_owned(), vec![0])]);
}

proptest! {
    #[test]
    fn only_stragglers_are_hedged_once_each_and_never_on_a_full_worker(
        samples in prop::collection::vec((0u32..120, 0u32..60, 0usize..3), 0..40),
        loads in prop::collection::vec(0u32..12, 0..6),
    ) {
        let now = clock();
        let orders = [vec![0, 1], vec![1, 0], vec![0]];
        let samples: Vec<Sample> = (0..).zip(&samples).map(|(index, &(tokens, seconds, order))| {
            let mut sample = sample(index, tokens, seconds, now);
            sample.spec.order = orders[order].clone();
            sample
        }).collect();
        let candidates: Vec<Candidate> =
            loads.iter().enumerate().map(|(i, &load)| candidate(&i.to_string(), load)).collect();
        let calls = hedge(&samples, &candidates, now);
        let mut hedged = BTreeSet::new();
        let mut given = std::collections::BTreeMap::<&str, u32>::new();
        for (worker, indices) in &calls {
            *given.entry(worker).or_default() += indices.len() as u32;
            let order = |&index: &u32| &samples[index as usize].spec.order;
            prop_assert!(indices.iter().all(|index| order(index) == order(&indices[0])));
            for &index in indices {
                prop_assert!(hedged.insert(index));
                let attempt = &samples[index as usize].attempt;
                prop_assert!(TYPICAL.is_straggler(attempt, now));
            }
        }
        for candidate in &candidates {
            let given = given.get(&*candidate.worker.id).copied().unwrap_or(0);
            prop_assert!(given == 0 || candidate.load + given <= candidate.capacity);
        }
        // A straggler is left out only if every place is taken.
        let n_stragglers = samples.iter()
            .filter(|s| TYPICAL.is_straggler(&s.attempt, now)).count();
        let n_free: u32 = loads.iter().map(|load| 8_u32.saturating_sub(*load)).sum();
        prop_assert_eq!(hedged.len(), n_stragglers.min(n_free as usize));
    }

    #[test]
    fn no_more_is_spent_than_the_share_of_what_was_planned(
        share in 0.0..1.0_f64,
        events in prop::collection::vec((any::<bool>(), 0u32..300), 0..200),
    ) {
        let budget = HedgeBudget::new(share);
        let (mut planned, mut spent) = (0_u64, 0_u64);
        for (is_planned, n) in events {
            if is_planned {
                budget.clone().record_planned(n);
                planned += u64::from(n);
            } else if budget.spend(n as usize) {
                spent += u64::from(n);
            }
            prop_assert!(spent as f64 <= share * planned as f64);
        }
    }
}

#[test]
fn a_budget_of_nothing_is_off_and_quiet_times_save_up_only_so_much() {
    let off = HedgeBudget::new(0.0);
    off.record_planned(u32::MAX);
    assert!(!off.is_on() && !off.spend(1));

    let budget = HedgeBudget::new(0.05);
    budget.record_planned(39);
    assert!(!budget.spend(2), "all or none");
    assert!(budget.spend(1));
    for _ in 0..1_000 {
        budget.record_planned(256);
    }
    assert!(budget.spend(64) && !budget.spend(1));
}
