//! What the reader of a group's events can rely on.

use std::sync::Arc;

use super::*;
use crate::backend::occupancy::Occupancy;
use crate::backend::scripted::example_group;

fn drain(receiver: &mut EventReceiver) -> Vec<BackendEvent> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

#[test]
fn a_reader_that_lags_loses_progress_and_nothing_else() {
    let group = example_group(4);
    let (mut events, mut receiver) = GroupEvents::channel(&group);
    events.accepted(10, 0);
    for tokens in 0..1000 {
        events.progress(0, tokens);
    }
    for spec in &group.samples {
        events.failed(spec.index, FailureKind::NotNeeded, "");
    }
    drop(events);
    let received = drain(&mut receiver);
    let ends = received.iter().filter(|event| matches!(event, BackendEvent::Failed { .. }));
    assert_eq!(ends.count(), 4);
    assert!(matches!(received[0], BackendEvent::Accepted { .. }));
    assert!(received.len() <= 1 + 4 + PROGRESS_ROOM);
}

#[test]
fn a_backend_that_vanishes_fails_what_it_owes() {
    let group = example_group(3);
    let (mut events, mut receiver) = GroupEvents::channel(&group);
    events.finished(Sample::failed(group.samples[1].clone(), FailureKind::NoBox, ""));
    drop(events);
    let failed: Vec<u32> = drain(&mut receiver)
        .into_iter()
        .filter_map(|event| match event {
            BackendEvent::Failed { index, failure } => {
                assert_eq!(failure.kind, FailureKind::Worker);
                Some(index)
            }
            _ => None,
        })
        .collect();
    assert_eq!(failed, [0, 2]);
}

#[test]
fn a_sample_ends_once() {
    let group = example_group(1);
    let (mut events, mut receiver) = GroupEvents::channel(&group);
    events.failed(0, FailureKind::NotNeeded, "");
    events.failed(0, FailureKind::Worker, "");
    events.failed(7, FailureKind::Worker, "a sample that is not of this group");
    drop(events);
    assert_eq!(drain(&mut receiver).len(), 1);
}

#[test]
fn whoever_sees_an_end_finds_the_seat_free() {
    let occupancy = Arc::new(Occupancy::new(8, 0));
    let group = example_group(3);
    let (events, mut receiver) = GroupEvents::channel(&group);
    let mut events = events.seated(occupancy.seat(3).unwrap());
    events.begun();
    events.cancelled(1);
    assert!(matches!(receiver.try_recv(), Ok(BackendEvent::Failed { index: 1, .. })));
    assert_eq!(occupancy.load(0).running, 2);
    assert!(!events.apply(&Cancelled::TimedOut));
    assert_eq!(occupancy.load(0).running, 0);

    let (events, mut receiver) = GroupEvents::channel(&group);
    events.seated(occupancy.seat(3).unwrap()).busy(Duration::ZERO);
    assert!(matches!(receiver.try_recv(), Ok(BackendEvent::Busy { .. })));
    assert_eq!(occupancy.load(0).queued, 0);
}

#[test]
fn a_refused_group_gets_the_refusal_alone() {
    let (events, mut receiver) = GroupEvents::channel(&example_group(8));
    events.busy(Duration::from_millis(5));
    assert_eq!(drain(&mut receiver).len(), 1);
}
