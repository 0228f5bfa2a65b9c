//! The budget of a request on which a remote caller waits.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::domain::limits;

/// The share of the call's deadline that the budget may use. An answer sent exactly at the deadline would arrive too
/// late.
const SHARE_OF_DEADLINE: f64 = 0.9;

/// The budget in milliseconds: `asked` if given, whatever the call's deadline; otherwise 90 % of that deadline; with
/// neither, `None`, which means the default.
pub fn budget_ms(asked: Option<NonZeroU64>, call_deadline: Option<Duration>) -> Option<NonZeroU64> {
    asked.or_else(|| {
        let within = call_deadline?.mul_f64(SHARE_OF_DEADLINE).as_millis();
        let within = u64::try_from(within).unwrap_or(u64::MAX).min(limits::MAX_BUDGET_MS);
        // A deadline that has all but passed gives the shortest budget, not the default.
        Some(NonZeroU64::new(within).unwrap_or(NonZeroU64::MIN))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(budget: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(budget)
    }

    #[test]
    fn a_budget_that_was_asked_for_is_never_cut_by_the_deadline() {
        assert_eq!(budget_ms(ms(60_000), Some(Duration::from_secs(65))), ms(60_000));
        assert_eq!(budget_ms(ms(540_000), Some(Duration::from_secs(10))), ms(540_000));
    }

    #[test]
    fn the_deadline_counts_when_no_budget_was_asked_for_and_leaves_a_tenth_for_the_way_back() {
        assert_eq!(budget_ms(None, Some(Duration::from_secs(60))), ms(54_000));
        assert_eq!(budget_ms(None, None), None);
    }

    #[test]
    fn a_deadline_that_is_as_good_as_past_is_no_default_and_a_far_one_is_no_longer_than_a_day() {
        assert_eq!(budget_ms(None, Some(Duration::ZERO)), ms(1));
        let far = Duration::from_secs(u64::MAX / 4);
        assert_eq!(budget_ms(None, Some(far)), ms(limits::MAX_BUDGET_MS));
    }
}
