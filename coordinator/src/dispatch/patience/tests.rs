use proptest::prelude::*;

use super::*;

const WORKER_WAIT: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(1);

fn worker(id: &str) -> WorkerRef {
    WorkerRef { id: id.into(), generation: 0 }
}

fn there(ids: &[&str]) -> Vec<Candidate> {
    let candidate = |id: &&str| Candidate {
        worker: worker(id),
        load: 0,
        capacity: 8,
        room_tokens: None,
        context_tokens: 0,
    };
    ids.iter().map(candidate).collect()
}

/// How long the worker is left alone if it refuses again at `now`.
fn refuse(patience: &mut Patience, now: Instant) -> Duration {
    patience.record_refused(&worker("a"), now);
    patience.next_retry(now).expect("it is left alone") - now
}

#[test]
fn whoever_has_done_nothing_may_be_asked() {
    let patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    assert!(patience.may_ask(&worker("a"), now));
    assert_eq!((patience.next_retry(now), patience.ends_at()), (None, None));
}

#[test]
fn pauses_double_with_each_refusal_up_to_the_longest_and_begin_anew_after_a_call_was_taken() {
    let mut patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    let pauses: Vec<u128> = (0..8).map(|_| refuse(&mut patience, now).as_millis()).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    patience.record_taken(&worker("a"));
    assert!(patience.may_ask(&worker("a"), now));
    assert_eq!(refuse(&mut patience, now), FIRST_PAUSE);
}

#[test]
fn a_busy_worker_is_asked_again_when_it_said_and_its_refusals_are_forgotten() {
    let mut patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    refuse(&mut patience, now);
    refuse(&mut patience, now);
    let pause = Duration::from_secs(7);
    let until = now + pause;
    patience.record_busy(&worker("a"), now, pause);
    assert!(!patience.may_ask(&worker("a"), until - MOMENT));
    assert!(patience.may_ask(&worker("a"), until));
    assert_eq!(refuse(&mut patience, until), FIRST_PAUSE);
}

#[test]
fn a_pause_that_a_worker_asked_for_outlasts_an_earlier_call_that_it_takes() {
    let mut patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    let pause = Duration::from_secs(2);
    patience.record_busy(&worker("a"), now, pause);
    patience.record_taken(&worker("a"));
    assert!(!patience.may_ask(&worker("a"), now));
    assert_eq!(patience.next_retry(now), Some(now + pause), "what waits is offered again then");
}

#[test]
fn hope_ends_when_nobody_has_taken_a_call_for_so_long() {
    let mut patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    patience.record_nobody(now);
    patience.record_nobody(now + Duration::from_secs(1));
    assert_eq!(patience.ends_at(), Some(now + WORKER_WAIT), "it runs from the first time");
    patience.record_taken(&worker("a"));
    assert_eq!(patience.ends_at(), None);
}

#[test]
fn a_pause_beyond_all_reason_is_a_long_one() {
    let mut patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    patience.record_busy(&worker("a"), now, Duration::MAX);
    assert!(!patience.may_ask(&worker("a"), now + LONGEST_BUSY - MOMENT));
    assert!(patience.may_ask(&worker("a"), now + LONGEST_BUSY));
}

#[test]
fn a_fleet_that_is_only_busy_is_waited_for_and_one_that_went_away_is_not() {
    let mut patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    patience.record_busy(&worker("a"), now, Duration::from_secs(60));
    patience.record_nobody(now);
    assert_eq!(patience.ends_at(), None, "it has asked for patience");
    patience.forget_absent(&there(&["a"]), now);
    patience.record_nobody(now);
    assert_eq!(patience.ends_at(), None, "it is still there");
    patience.forget_absent(&there(&["b"]), now);
    patience.record_nobody(now);
    assert_eq!(patience.ends_at(), Some(now + WORKER_WAIT));
}

#[test]
fn a_refusal_is_remembered_while_the_worker_is_away() {
    let mut patience = Patience::new(WORKER_WAIT);
    let now = Instant::now();
    refuse(&mut patience, now);
    patience.forget_absent(&[], now);
    assert_eq!(refuse(&mut patience, now), 2 * FIRST_PAUSE);
}

proptest! {
    #[test]
    fn a_worker_may_be_asked_again_no_later_than_the_next_retry_says(
        pauses in prop::collection::vec((0u8..4, prop::option::of(1u64..9_000)), 1..40),
    ) {
        let mut patience = Patience::new(WORKER_WAIT);
        let now = Instant::now();
        for &(id, busy_ms) in &pauses {
            let worker = worker(&id.to_string());
            match busy_ms {
                Some(ms) => patience.record_busy(&worker, now, Duration::from_millis(ms)),
                None => patience.record_refused(&worker, now),
            }
            prop_assert!(!patience.may_ask(&worker, now));
        }
        let mut at = now;
        let is_left_alone = |patience: &Patience, at: Instant| {
            let ids = pauses.iter().map(|(id, _)| worker(&id.to_string()));
            ids.filter(|worker| !patience.may_ask(worker, at)).collect::<std::collections::BTreeSet<_>>().len()
        };
        // Each due retry frees one more worker, and none is left without a retry.
        while let Some(next) = patience.next_retry(at) {
            let before = is_left_alone(&patience, at);
            prop_assert!(is_left_alone(&patience, next) < before);
            prop_assert_eq!(is_left_alone(&patience, next - MOMENT / 2), before);
            at = next;
        }
        prop_assert_eq!(is_left_alone(&patience, at), 0);
    }
}
