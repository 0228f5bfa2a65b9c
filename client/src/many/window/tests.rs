use std::time::Duration;

use jury_grm::domain::{Item, ScoreRequest};
use jury_proto::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::ClientConfig;

fn prepared(now: Instant) -> Prepared {
    let json = r#"{"query": "q", "responses": ["a", "b"]}"#;
    let request = ScoreRequest::new(Item::from_json(json).unwrap().0);
    Prepared::new(request, &ClientConfig::default(), now).unwrap()
}

fn window_with(n_items: u64, now: Instant) -> Window {
    let mut window = Window::new(RetryPolicy::default(), HeardFrom::default());
    for sequence in 0..n_items {
        window.add(sequence, prepared(now), now);
    }
    window
}

fn take_all_due(window: &mut Window, now: Instant) -> Vec<v1::ScoreStreamRequest> {
    std::iter::from_fn(|| window.take_due(now)).collect()
}

fn refused() -> JuryError {
    JuryError::invalid("k", "must be between 1 and 256, is 0")
}

fn unreachable() -> JuryError {
    JuryError::new(ErrorCode::Unreachable, "gone")
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_not_due_until_the_connection_is_lost() {
    let now = Instant::now();
    let mut window = window_with(2, now);
    let first = take_all_due(&mut window, now);
    assert_eq!(first.len(), 2);
    assert!(!window.has_due(now));

    assert!(window.connection_lost(&unreachable(), now, 0.0).is_empty());
    let again = take_all_due(&mut window, now);
    assert_eq!(again, first, "the same messages, request ids and all");
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_item_waits_alone() {
    let now = Instant::now();
    let mut window = window_with(2, now);
    take_all_due(&mut window, now);
    let busy = JuryError::overloaded("full", Duration::from_secs(2));
    assert!(window.answered(1, Err(busy), now, 0.0).is_none());
    assert_eq!(window.next_alarm(now), Some(now + Duration::from_secs(2)));
    assert!(!window.has_due(now));
    let later = now + Duration::from_secs(2);
    assert_eq!(window.take_due(later).unwrap().sequence, 1);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_item_is_answered_at_once_and_the_others_wait_on() {
    let now = Instant::now();
    let mut window = window_with(2, now);
    take_all_due(&mut window, now);
    let (sequence, result) = window.answered(0, Err(refused()), now, 0.0).unwrap();
    assert_eq!((sequence, result.unwrap_err().attempts), (0, 1));
    assert_eq!(window.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_item_past_its_deadline_is_answered_with_that() {
    let now = Instant::now();
    let mut window = window_with(1, now);
    let deadline = window.earliest_deadline().unwrap();
    assert!(window.expire(now).is_empty());
    let late = window.expire(deadline).remove(0).1.unwrap_err();
    assert_eq!(late.code, ErrorCode::DeadlineExceeded);
    assert!(window.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_between_makes_lost_connections_count_anew() {
    let now = Instant::now();
    let mut window = window_with(9, now);
    for sequence in 0..8 {
        take_all_due(&mut window, now);
        assert!(window.connection_lost(&unreachable(), now, 0.0).is_empty());
        window.answered(sequence, Err(refused()), now, 0.0);
    }
    assert_eq!(window.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_given_up_costs_later_items_one_attempt_each_until_it_answers() {
    let now = Instant::now();
    let mut window = window_with(1, now);
    let lost = |window: &mut Window| {
        take_all_due(window, now);
        window.connection_lost(&unreachable(), now, 0.0).len()
    };
    let given_up: Vec<usize> = (0..5).map(|_| lost(&mut window)).collect();
    assert_eq!(given_up, [0, 0, 0, 0, 1]);
    for sequence in 1..3 {
        window.add(sequence, prepared(now), now);
        assert_eq!(lost(&mut window), 1);
    }
    window.add(3, prepared(now), now);
    take_all_due(&mut window, now);
    window.answered(3, Err(refused()), now, 0.0);
    window.add(4, prepared(now), now);
    assert_eq!(lost(&mut window), 0, "it is there");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_has_answered_is_waited_for_until_each_deadline_which_then_tells_why() {
    let now = Instant::now();
    for renews_budgets in [false, true] {
        let mut window = window_with(2, now);
        window.retry.renews_budgets = renews_budgets;
        take_all_due(&mut window, now);
        window.answered(1, Err(refused()), now, 0.0);
        let lost = now + Duration::from_secs(60);
        for _ in 0..100 {
            assert!(window.connection_lost(&unreachable(), lost, 0.9).is_empty());
        }
        let patience = window.items[&0].prepared.patience;
        let deadline = if renews_budgets { lost + patience } else { now + patience };
        assert_eq!(window.earliest_deadline(), Some(deadline));
        let late = window.expire(deadline).remove(0).1.unwrap_err();
        assert_eq!((late.code, &*late.message), (ErrorCode::Unreachable, "gone"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_ran_out_beside_others_gets_its_whole_budget_once_more() {
    let now = Instant::now();
    let mut window = window_with(2, now);
    take_all_due(&mut window, now);
    let later = now + Duration::from_secs(60);
    assert!(window.judge_again(1, later));
    assert_eq!(window.take_due(later).unwrap().sequence, 1);
    assert_eq!(window.items[&1].prepared.deadline, later + window.items[&1].prepared.patience);
    assert!(!window.judge_again(1, later), "once is enough");
    let mut alone = window_with(1, now);
    assert!(!alone.judge_again(0, now), "it had the fleet for itself");
}

#[derive(Debug, Clone)]
enum Step {
    Send,
    Answer(u64, bool),
    Lose,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Send),
        (0..6_u64, any::<bool>()).prop_map(|(sequence, busy)| Step::Answer(sequence, busy)),
        Just(Step::Lose),
        (0..30_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn every_item_is_answered_exactly_once(steps in prop::collection::vec(step(), 0..60)) {
        let start = Instant::now();
        let mut now = start;
        let mut window = window_with(6, now);
        let mut answers: Vec<u64> = Vec::new();
        for step in steps {
            let answered: Vec<ItemAnswer> = match step {
                Step::Send => {
                    take_all_due(&mut window, now);
                    Vec::new()
                }
                Step::Answer(sequence, busy) => {
                    let error = if busy { JuryError::overloaded("full", Duration::from_secs(1)) } else { refused() };
                    window.answered(sequence, Err(error), now, 0.5).into_iter().collect()
                }
                Step::Lose => window.connection_lost(&unreachable(), now, 0.5),
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    window.expire(now)
                }
            };
            answers.extend(answered.into_iter().map(|(sequence, _)| sequence));
        }
        answers.extend(window.expire(now + Duration::from_secs(3600)).into_iter().map(|(sequence, _)| sequence));
        answers.sort_unstable();
        prop_assert_eq!(answers, (0..6).collect::<Vec<_>>());
        prop_assert!(window.is_empty());
    }
}
