use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Samples of 100 tokens and 10 seconds each.
fn seen(samples: u32) -> Rates {
    let mut rates = Rates::default();
    rates.record(Drawn {
        samples,
        tokens: 100 * u64::from(samples),
        time: samples * 10 * SECOND,
        ..Drawn::default()
    });
    rates
}

fn ask(min_samples: u32, seconds: u32) -> Ask {
    Ask { samples: min_samples, min_samples, max_tokens: 512, left: seconds * SECOND }
}

const IDLE: Line = Line { places: 8, waiting_samples: 0 };

#[test]
fn nothing_is_refused_before_enough_was_seen() {
    assert_eq!(seen(15).outlook(ask(256, 0), IDLE), Outlook::Open);
    assert!(matches!(seen(16).outlook(ask(256, 0), IDLE), Outlook::Hopeless(_)));
}

#[test]
fn a_budget_of_half_the_time_is_still_tried_and_less_is_not() {
    assert_eq!(seen(16).outlook(ask(8, 5), IDLE), Outlook::Open);
    let forecast = Forecast { wait: Duration::ZERO, draw: 10 * SECOND };
    assert_eq!(seen(16).outlook(ask(8, 4), IDLE), Outlook::Hopeless(forecast));
    assert!(matches!(seen(16).outlook(ask(9, 9), IDLE), Outlook::Hopeless(_)), "two rounds");
}

#[test]
fn a_long_line_is_told_from_a_short_budget() {
    let crowd = Line { places: 8, waiting_samples: 80 };
    let forecast = Forecast { wait: 100 * SECOND, draw: 10 * SECOND };
    assert_eq!(seen(16).outlook(ask(4, 54), crowd), Outlook::Crowded(forecast));
    assert_eq!(seen(16).outlook(ask(4, 55), crowd), Outlook::Open);
}

#[test]
fn short_critiques_are_expected_to_take_less() {
    assert_eq!(seen(16).of_sample(1000), Some(10 * SECOND));
    assert_eq!(seen(16).of_sample(50), Some(5 * SECOND));
}

#[test]
fn what_was_seen_last_counts_most() {
    let mut rates = seen(100);
    for _ in 0..100 {
        rates.record(Drawn { samples: 32, tokens: 3200, time: 32 * SECOND, ..Drawn::default() });
    }
    let expected = rates.of_sample(512).unwrap();
    assert!(expected >= SECOND && expected < SECOND.mul_f64(1.01), "{expected:?}");
}

proptest! {
    #[test]
    fn more_time_fewer_samples_and_a_shorter_line_never_make_it_worse(
        (samples, time_ms, tokens) in (0u32..100, 0u64..1_000_000, 0u64..100_000),
        (min_samples, max_tokens, left_ms) in (1u32..256, 1u32..1000, 0u64..100_000),
        (places, waiting_samples) in (0u32..300, 0u32..10_000),
        (fewer, more_ms, shorter) in (0u32..256, 0u64..100_000, 0u32..10_000),
    ) {
        let mut rates = Rates::default();
        rates.record(Drawn { samples, tokens, time: Duration::from_millis(time_ms), ..Drawn::default() });
        let rank = |ask: Ask, line: Line| match rates.outlook(ask, line) {
            Outlook::Open => 0,
            Outlook::Crowded(_) => 1,
            Outlook::Hopeless(_) => 2,
        };
        let left = Duration::from_millis(left_ms);
        let (ask, line) = (Ask { samples: min_samples, min_samples, max_tokens, left }, Line { places, waiting_samples });
        let now = rank(ask, line);
        let longer = Ask { left: left + Duration::from_millis(more_ms), ..ask };
        prop_assert!(rank(longer, line) <= now);
        let min_samples = min_samples.saturating_sub(fewer).max(1);
        let smaller = Ask { min_samples, ..ask };
        prop_assert!(rank(smaller, line) <= now);
        let waiting_samples = waiting_samples.saturating_sub(shorter);
        let shorter = Line { waiting_samples, ..line };
        prop_assert!(rank(ask, shorter) <= now);
    }
}
