use std::collections::BTreeMap;

use jury_grm::domain::{Finish, Outcome, Scores};
use proptest::prelude::*;

use super::*;

fn specs(k: u32) -> Vec<SampleSpec> {
    (0..k)
        .map(|index| SampleSpec { index, seed: u64::from(index) + 7, order: vec![0, 1] })
        .collect()
}

fn spec(index: u32) -> SampleSpec {
    specs(index + 1).remove(index as usize)
}

/// Scored, of 10 tokens.
fn scored(spec: SampleSpec) -> Sample {
    Sample {
        outcome: Outcome::Scored(Scores {
            scores: vec![8.0, 3.0],
            score_distribution: None,
            readout_mass: None,
            forced: false,
        }),
        finish: Finish::Box,
        generated_tokens: 10,
        meta_score: None,
        hidden_state: None,
        ..Sample::failed(spec, FailureKind::Worker, "")
    }
}

fn worker(id: &str) -> WorkerRef {
    WorkerRef { id: id.into(), generation: 0 }
}

fn issue(workbench: &mut Workbench, id: &str, indices: &[u32]) -> CallId {
    workbench.issue(&worker(id), indices, Instant::now())
}

fn hedge(workbench: &mut Workbench, id: &str, indices: &[u32]) -> CallId {
    workbench.hedge(&worker(id), indices, Instant::now())
}

fn waiting(workbench: &Workbench) -> Vec<u32> {
    workbench.waiting().map(|sample| sample.spec.index).collect()
}

fn ended(workbench: &mut Workbench) -> Vec<Sample> {
    std::iter::from_fn(|| workbench.pop_ended()).collect()
}

fn cancels(workbench: &mut Workbench) -> Vec<(CallId, u32)> {
    std::iter::from_fn(|| workbench.pop_cancel()).collect()
}

#[test]
fn what_a_lost_worker_held_is_issued_again_with_the_same_identity() {
    let mut workbench = Workbench::new(specs(4), 3);
    let call = issue(&mut workbench, "a", &[0, 1, 2, 3]);
    workbench.record_finished(call, scored(spec(1))).unwrap();
    workbench.record_progress(call, 2, 30, Instant::now());
    assert_eq!(workbench.record_lost(call, "connection reset"), [0, 2, 3]);

    let again: Vec<_> = workbench.waiting().map(|sample| sample.spec.clone()).collect();
    assert_eq!(again, [0, 2, 3].map(spec));
    assert!(workbench.waiting().all(|sample| sample.failed_on.contains(&worker("a"))));
    assert_eq!(workbench.tally(), Tally { reissued: 3, wasted_tokens: 30, hedged: 0 });
}

#[test]
fn a_late_result_is_not_counted_twice() {
    let mut workbench = Workbench::new(specs(1), 3);
    let first = issue(&mut workbench, "a", &[0]);
    workbench.record_lost(first, "silence");
    let second = issue(&mut workbench, "b", &[0]);
    assert_eq!(workbench.record_finished(first, scored(spec(0))), Err(Refused::Foreign(0)));
    workbench.record_finished(second, scored(spec(0))).unwrap();
    assert_eq!(workbench.record_finished(second, scored(spec(0))), Err(Refused::Duplicate(0)));
    assert_eq!((ended(&mut workbench).len(), workbench.tally().wasted_tokens), (1, 20));
}

#[test]
fn a_result_with_another_seed_is_refused() {
    let mut workbench = Workbench::new(specs(2), 3);
    let call = issue(&mut workbench, "a", &[0, 1]);
    let forged = SampleSpec { seed: 99, ..spec(0) };
    assert_eq!(workbench.record_finished(call, scored(forged)), Err(Refused::Foreign(0)));
    assert_eq!(workbench.n_ended(), 0);
}

#[test]
fn a_sample_that_every_worker_loses_fails_after_its_last_reissue() {
    let mut workbench = Workbench::new(specs(1), 2);
    for _ in 0..3 {
        let call = issue(&mut workbench, "a", &[0]);
        workbench.record_lost(call, "worker a went away");
    }
    assert!(workbench.is_complete());
    let ended = ended(&mut workbench);
    assert_eq!(ended[0].failure().unwrap().kind, FailureKind::Worker);
    assert_eq!(workbench.tally().reissued, 2);
}

#[test]
fn refusals_use_up_no_reissues() {
    let mut workbench = Workbench::new(specs(2), 0);
    for _ in 0..9 {
        let call = issue(&mut workbench, "a", &[0, 1]);
        workbench.record_refused(call);
    }
    assert_eq!(waiting(&workbench), [0, 1]);
    assert!(workbench.waiting().all(|sample| sample.failed_on.is_empty()));
    assert_eq!(workbench.tally(), Tally::default());
}

#[test]
fn a_prompt_that_is_too_long_is_not_tried_elsewhere() {
    let mut workbench = Workbench::new(specs(1), 3);
    let call = issue(&mut workbench, "a", &[0]);
    workbench.record_failed(call, 0, FailureKind::TooLong, "12 tokens over");
    assert!(workbench.is_complete());
}

#[test]
fn what_is_too_large_here_waits_for_a_larger_worker_and_is_no_loss() {
    let mut workbench = Workbench::new(specs(1), 0);
    let call = issue(&mut workbench, "small", &[0]);
    workbench.record_too_large(call, 900);
    workbench.record_lost(call, "the stream ended");
    {
        let sample = workbench.waiting().next().unwrap();
        assert_eq!(sample.needed_tokens, 900);
        assert!(sample.too_large_for.contains(&worker("small")) && sample.failed_on.is_empty());
    }
    workbench.record_too_large_everywhere(0);
    let failure = ended(&mut workbench)[0].failure().unwrap().clone();
    assert_eq!(failure.kind, FailureKind::TooLarge);
    assert!(failure.detail.contains("900"), "{failure}");
}

#[test]
fn the_first_of_two_attempts_counts_and_the_other_is_cancelled() {
    let mut workbench = Workbench::new(specs(2), 3);
    let slow = issue(&mut workbench, "slow", &[0, 1]);
    workbench.record_progress(slow, 0, 4, Instant::now());
    let quick = hedge(&mut workbench, "quick", &[0]);
    assert_eq!(workbench.attempts(0).len(), 2);
    workbench.record_finished(quick, scored(spec(0))).unwrap();
    assert_eq!(cancels(&mut workbench), [(slow, 0)]);
    assert_eq!(workbench.owed(slow).collect::<Vec<_>>(), [1]);
    assert_eq!(workbench.tally(), Tally { reissued: 0, hedged: 1, wasted_tokens: 4 });
}

#[test]
fn what_a_cancelled_attempt_still_generates_is_waste_once() {
    let mut workbench = Workbench::new(specs(1), 3);
    let slow = issue(&mut workbench, "slow", &[0]);
    let quick = hedge(&mut workbench, "quick", &[0]);
    workbench.record_progress(slow, 0, 4, Instant::now());
    workbench.record_finished(quick, scored(spec(0))).unwrap();
    workbench.record_progress(slow, 0, 6, Instant::now());
    assert_eq!(workbench.record_finished(slow, scored(spec(0))), Err(Refused::Duplicate(0)));
    assert_eq!(workbench.tally().wasted_tokens, 10);
}

#[test]
fn a_sample_waits_again_only_when_its_last_attempt_failed() {
    let mut workbench = Workbench::new(specs(1), 3);
    let first = issue(&mut workbench, "a", &[0]);
    let second = hedge(&mut workbench, "b", &[0]);
    workbench.record_lost(first, "gone");
    assert_eq!((waiting(&workbench), workbench.tally().reissued), (vec![], 0));
    workbench.record_lost(second, "gone, too");
    assert_eq!((waiting(&workbench), workbench.tally().reissued), (vec![0], 1));
}

#[test]
fn a_sample_has_two_attempts_at_most_and_never_two_on_one_worker() {
    let mut workbench = Workbench::new(specs(1), 3);
    hedge(&mut workbench, "a", &[0]);
    assert_eq!(workbench.attempts(0).len(), 0, "what waits is issued, not hedged");
    issue(&mut workbench, "a", &[0]);
    hedge(&mut workbench, "a", &[0]);
    assert_eq!(workbench.attempts(0).len(), 1);
    hedge(&mut workbench, "b", &[0]);
    hedge(&mut workbench, "c", &[0]);
    assert_eq!((workbench.attempts(0).len(), workbench.tally().hedged), (2, 1));
}

#[test]
fn what_is_not_needed_ends_so_and_its_attempts_are_cancelled() {
    let mut workbench = Workbench::new(specs(3), 3);
    let call = issue(&mut workbench, "a", &[0, 1]);
    workbench.record_progress(call, 1, 5, Instant::now());
    workbench.record_finished(call, scored(spec(0))).unwrap();
    workbench.record_not_needed(0..3);
    assert!(workbench.is_complete());
    assert_eq!(cancels(&mut workbench), [(call, 1)]);
    let kinds: Vec<_> =
        ended(&mut workbench).iter().map(|s| s.failure().map(|failure| failure.kind)).collect();
    assert_eq!(kinds, [None, Some(FailureKind::NotNeeded), Some(FailureKind::NotNeeded)]);
    assert_eq!(workbench.tally().wasted_tokens, 5);
}

/// What may happen next; the numbers select one of the available options.
#[derive(Debug, Clone, Copy)]
enum Event {
    Issue { worker: u8, most: usize },
    Hedge { worker: u8, index: u32 },
    Progress { call: usize, index: u32, tokens: u32 },
    Finish { call: usize, index: u32 },
    Fail { call: usize, index: u32 },
    TooLong { call: usize, index: u32 },
    TooLarge { call: usize },
    Lose { call: usize },
    Refuse { call: usize },
    NotNeeded { index: u32 },
    Add,
}

fn event(k: u32) -> impl Strategy<Value = Event> {
    let (call, index, worker) = (0usize..12, 0..k, 0u8..3);
    prop_oneof![
        3 => (worker.clone(), 1usize..6).prop_map(|(worker, most)| Event::Issue { worker, most }),
        2 => (worker, index.clone()).prop_map(|(worker, index)| Event::Hedge { worker, index }),
        3 => (call.clone(), index.clone(), 0u32..50)
            .prop_map(|(call, index, tokens)| Event::Progress { call, index, tokens }),
        4 => (call.clone(), index.clone()).prop_map(|(call, index)| Event::Finish { call, index }),
        1 => (call.clone(), index.clone()).prop_map(|(call, index)| Event::Fail { call, index }),
        1 => (call.clone(), index.clone()).prop_map(|(call, index)| Event::TooLong { call, index }),
        1 => call.clone().prop_map(|call| Event::TooLarge { call }),
        1 => call.clone().prop_map(|call| Event::Lose { call }),
        1 => call.prop_map(|call| Event::Refuse { call }),
        1 => index.prop_map(|index| Event::NotNeeded { index }),
        1 => Just(Event::Add),
    ]
}

/// Tokens that an attempt is known to have generated, tracked separately from the workbench.
type Generated = BTreeMap<(CallId, u32), u32>;

fn apply(workbench: &mut Workbench, calls: &mut Vec<CallId>, known: &mut Generated, event: Event) {
    let of = |calls: &[CallId], n: usize| calls.get(n % calls.len().max(1)).copied();
    let name = |worker: u8| format!("w{worker}");
    match event {
        Event::Issue { worker, most } => {
            let indices: Vec<u32> = waiting(workbench).into_iter().take(most).collect();
            calls.push(issue(workbench, &name(worker), &indices));
        }
        Event::Hedge { worker, index } => calls.push(hedge(workbench, &name(worker), &[index])),
        Event::Progress { call, index, tokens } => {
            let Some(call) = of(calls, call) else { return };
            let open = workbench.calls.get(&call);
            if open.is_some_and(|c| c.owed.contains(&index) || c.cancelled.contains_key(&index)) {
                let most = known.entry((call, index)).or_default();
                *most = tokens.max(*most);
            }
            workbench.record_progress(call, index, tokens, Instant::now());
        }
        Event::Finish { call, index } => {
            let Some(call) = of(calls, call) else { return };
            if workbench.owes(call, index) {
                known.remove(&(call, index));
                workbench.record_finished(call, scored(spec(index))).expect("it is owed");
            }
        }
        Event::Fail { call, index } => {
            let Some(call) = of(calls, call) else { return };
            workbench.record_failed(call, index, FailureKind::Worker, "failed");
        }
        Event::TooLong { call, index } => {
            let Some(call) = of(calls, call) else { return };
            workbench.record_failed(call, index, FailureKind::TooLong, "too long");
        }
        Event::TooLarge { call } => {
            let Some(call) = of(calls, call) else { return };
            workbench.record_too_large(call, 100);
        }
        Event::Lose { call } => {
            let Some(call) = of(calls, call) else { return };
            workbench.record_lost(call, "lost");
        }
        Event::Refuse { call } => {
            let Some(call) = of(calls, call) else { return };
            workbench.record_refused(call);
        }
        Event::NotNeeded { index } => workbench.record_not_needed([index]),
        Event::Add => workbench.add(spec(workbench.n_planned())),
    }
}

proptest! {
    #[test]
    fn hedges_change_no_sample(
        (k, events) in (1u32..9).prop_flat_map(|k| (Just(k), prop::collection::vec(event(k + 3), 0..80))),
    ) {
        let draw = |is_hedged: bool| {
            let mut workbench = Workbench::new(specs(k), u32::MAX);
            let (mut calls, mut known) = (Vec::new(), Generated::new());
            for &event in &events {
                let is_own_end = matches!(event, Event::TooLong { .. } | Event::NotNeeded { .. });
                let is_left_out = matches!(event, Event::Hedge { .. }) && !is_hedged;
                if !is_own_end && !is_left_out {
                    apply(&mut workbench, &mut calls, &mut known, event);
                }
            }
            // The rest is drawn without further trouble.
            for call in calls {
                workbench.record_refused(call);
            }
            let all: Vec<u32> = (0..workbench.n_planned()).collect();
            let last = issue(&mut workbench, "last", &all);
            let owed: Vec<u32> = workbench.owed(last).collect();
            for index in owed {
                workbench.record_finished(last, scored(spec(index))).expect("it is owed");
            }
            let mut samples = ended(&mut workbench);
            samples.sort_by_key(|sample| sample.spec.index);
            (samples, workbench.tokens())
        };
        prop_assert_eq!(draw(true), draw(false));
    }

    #[test]
    fn every_planned_sample_ends_once_whatever_happens(
        (k, events) in (1u32..9).prop_flat_map(|k| (Just(k), prop::collection::vec(event(k + 3), 0..80))),
    ) {
        let mut workbench = Workbench::new(specs(k), 2);
        let (mut calls, mut known) = (Vec::new(), Generated::new());
        let mut ends = Vec::new();
        for event in events {
            apply(&mut workbench, &mut calls, &mut known, event);
            // Every sample waits, or has one or two attempts, or has ended.
            let waits = waiting(&workbench);
            for index in 0..workbench.n_planned() {
                let n_attempts = workbench.attempts(index).len();
                let is_ended = workbench.slots[index as usize].is_ended;
                let states = [waits.contains(&index), n_attempts > 0, is_ended];
                prop_assert_eq!(states.iter().filter(|state| **state).count(), 1);
                prop_assert!(n_attempts <= 2);
            }
            // Every owed sample is attempted, and the reverse.
            let owed: usize = calls.iter().map(|&call| workbench.owed(call).count()).sum();
            let attempts: usize = (0..workbench.n_planned()).map(|index| workbench.attempts(index).len()).sum();
            prop_assert_eq!(owed, attempts);
            ends.extend(ended(&mut workbench));
            prop_assert_eq!(ends.len(), workbench.n_ended() as usize);
        }
        workbench.give_up(FailureKind::TimedOut, "budget");
        prop_assert!(workbench.is_complete());
        ends.extend(ended(&mut workbench));
        ends.sort_by_key(|sample| sample.spec.index);
        let ended_specs: Vec<_> = ends.iter().map(|sample| sample.spec.clone()).collect();
        prop_assert_eq!(ended_specs, specs(workbench.n_planned()));
        // Every generated token belongs to a sample that counts, or is waste.
        let useful: u64 = ends.iter().map(|sample| u64::from(sample.generated_tokens)).sum();
        prop_assert_eq!(workbench.tokens(), useful);
        let wasted: u64 = known.values().map(|&tokens| u64::from(tokens)).sum();
        prop_assert_eq!(workbench.tally().wasted_tokens, wasted);
        // Every attempt that is no longer wanted has been cancelled.
        let told: BTreeSet<_> = cancels(&mut workbench).into_iter().collect();
        let cancelled = workbench.calls.iter().flat_map(|(&call, open)| {
            open.cancelled.keys().map(move |&index| (call, index))
        });
        for cancelled in cancelled {
            prop_assert!(told.contains(&cancelled));
        }
        prop_assert_eq!(calls.iter().map(|&call| workbench.owed(call).count()).sum::<usize>(), 0);
    }
}
