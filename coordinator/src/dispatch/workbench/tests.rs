use jury_grm::domain::{Finish, Outcome, Scores};
use proptest::prelude::*;

use super::*;

fn specs(k: u32) -> Vec<SampleSpec> {
    (0..k)
        .map(|index| SampleSpec { index, seed: u64::from(index) + 7, order: vec![0, 1] })
        .collect()
}

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
        ..Sample::failed(spec, FailureKind::Worker, "")
    }
}

fn pending(workbench: &Workbench) -> Vec<u32> {
    workbench.pending().map(|(spec, _)| spec.index).collect()
}

#[test]
fn what_a_lost_worker_held_is_issued_again_with_the_same_identity() {
    let mut workbench = Workbench::new(specs(4), 3);
    let call = workbench.issue("a", &[0, 1, 2, 3]);
    workbench.record_finished(call, scored(specs(4)[1].clone())).unwrap();
    workbench.record_progress(call, 2, 30);
    assert_eq!(workbench.record_lost(call, "connection reset"), [0, 2, 3]);

    let again: Vec<_> = workbench.pending().map(|(spec, _)| spec.clone()).collect();
    assert_eq!(again, [0, 2, 3].map(|i: usize| specs(4)[i].clone()));
    assert!(workbench.pending().all(|(_, failed_on)| failed_on.contains("a")));
    let (_, tally) = workbench.into_samples(FailureKind::TimedOut, "");
    assert_eq!(tally, Tally { reissued: 3, wasted_tokens: 30 });
}

#[test]
fn a_late_result_is_not_counted_twice() {
    let mut workbench = Workbench::new(specs(1), 3);
    let first = workbench.issue("a", &[0]);
    workbench.record_lost(first, "silence");
    let second = workbench.issue("b", &[0]);
    assert_eq!(
        workbench.record_finished(first, scored(specs(1)[0].clone())),
        Err(Refused::Foreign(0))
    );
    workbench.record_finished(second, scored(specs(1)[0].clone())).unwrap();
    assert_eq!(
        workbench.record_finished(second, scored(specs(1)[0].clone())),
        Err(Refused::Duplicate(0))
    );
    let (samples, tally) = workbench.into_samples(FailureKind::TimedOut, "");
    assert_eq!((samples.len(), tally.wasted_tokens), (1, 20));
}

#[test]
fn a_result_with_another_seed_is_refused() {
    let mut workbench = Workbench::new(specs(2), 3);
    let call = workbench.issue("a", &[0, 1]);
    let forged = SampleSpec { seed: 99, ..specs(2)[0].clone() };
    assert_eq!(workbench.record_finished(call, scored(forged)), Err(Refused::Foreign(0)));
    assert!(!workbench.is_complete());
}

#[test]
fn a_sample_that_every_worker_loses_fails_after_its_last_reissue() {
    let mut workbench = Workbench::new(specs(1), 2);
    for _ in 0..3 {
        let call = workbench.issue("a", &[0]);
        workbench.record_lost(call, "worker a went away");
    }
    assert!(workbench.is_complete());
    let (samples, tally) = workbench.into_samples(FailureKind::TimedOut, "");
    assert_eq!(samples[0].failure().unwrap().kind, FailureKind::Worker);
    assert_eq!(tally.reissued, 2);
}

#[test]
fn a_busy_worker_is_no_loss() {
    let mut workbench = Workbench::new(specs(2), 0);
    let call = workbench.issue("a", &[0, 1]);
    workbench.record_busy(call);
    assert_eq!(pending(&workbench), [0, 1]);
    assert!(workbench.pending().all(|(_, failed_on)| failed_on.is_empty()));
}

#[test]
fn a_prompt_that_is_too_long_is_not_tried_elsewhere() {
    let mut workbench = Workbench::new(specs(1), 3);
    let call = workbench.issue("a", &[0]);
    workbench.record_failed(call, 0, FailureKind::TooLong, "12 tokens over");
    assert!(workbench.is_complete());
}

/// What a random fleet may do with a call.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Finish,
    Lose,
    Busy,
    Fail,
    Repeat,
}

proptest! {
    #[test]
    fn done_is_planned_whatever_the_fleet_does(
        k in 1u32..20,
        fates in prop::collection::vec(
            prop::sample::select(vec![Fate::Finish, Fate::Lose, Fate::Busy, Fate::Fail, Fate::Repeat]),
            0..60,
        ),
        chunk in 1usize..6,
    ) {
        let mut workbench = Workbench::new(specs(k), 2);
        for fate in fates {
            let indices: Vec<u32> = pending(&workbench).into_iter().take(chunk).collect();
            let call = workbench.issue("w", &indices);
            for &index in &indices {
                let sample = scored(specs(k)[index as usize].clone());
                match fate {
                    Fate::Finish => workbench.record_finished(call, sample).unwrap(),
                    Fate::Fail => workbench.record_failed(call, index, FailureKind::Worker, "x"),
                    Fate::Repeat => {
                        workbench.record_finished(call, sample.clone()).unwrap();
                        prop_assert!(workbench.record_finished(call, sample).is_err());
                    }
                    Fate::Lose | Fate::Busy => {}
                }
            }
            match fate {
                Fate::Busy => workbench.record_busy(call),
                _ => { workbench.record_lost(call, "gone"); }
            }
        }
        let n_done = workbench.n_done();
        let (samples, _) = workbench.into_samples(FailureKind::TimedOut, "budget");
        prop_assert_eq!(samples.len(), k as usize);
        let timed_out = samples.iter().filter(|sample| {
            sample.failure().is_some_and(|failure| failure.kind == FailureKind::TimedOut)
        });
        prop_assert_eq!(timed_out.count() as u32 + n_done, k);
        prop_assert!(samples.iter().zip(specs(k)).all(|(sample, spec)| sample.spec == spec));
    }
}
