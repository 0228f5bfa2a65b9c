//! When to try again, and after how long. Pure: time and chance are arguments.
//!
//! A service that has answered before is away for a while: it is tried until the deadline. One that never has may not be
//! there at all, and whoever mistyped an address is told within seconds.
//!
//! Full jitter: the wait is uniform between nothing and a bound that doubles with each attempt, so
//! that clients that failed together do not come back together. A service that says how long to
//! wait is waited for that long, plus the jitter. A wait that would outlast the deadline is not
//! begun: the error is told at once.

use std::time::Duration;

use jury_fabric::backoff;
use jury_proto::{ErrorCode, JuryError};

/// When a failed call is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Most attempts at a service that cannot be reached and has never answered, the first one included; 1 never tries again.
    /// A service that has answered is tried until the deadline, and so is one that is full: it says when to come back.
    pub max_attempts: u32,
    /// True gives the items of a stream their whole budget again when its connection is lost: what is judged anew takes as
    /// long as before. An item may then take longer than its budget. Calls of one item keep their deadlines.
    pub renews_budgets: bool,
    /// Bound of the first wait.
    pub base_delay: Duration,
    /// Bound of every wait.
    pub max_delay: Duration,
}

/// A failed attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    /// What went wrong.
    pub error: &'a JuryError,
    /// How many attempts there were, this one included.
    pub attempts: u32,
    /// Time until the deadline.
    pub time_left: Duration,
    /// The service has answered this client before.
    pub answered_before: bool,
}

// === impl RetryPolicy ===

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            renews_budgets: false,
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// Never tries again.
    pub const NEVER: Self = Self {
        max_attempts: 1,
        renews_budgets: false,
        base_delay: Duration::ZERO,
        max_delay: Duration::ZERO,
    };

    /// How long to wait before trying again; `None` when another attempt would not help or would
    /// come too late. `chance` is uniform in 0..1.
    pub(crate) fn delay(&self, attempt: Attempt<'_>, chance: f64) -> Option<Duration> {
        let error = attempt.error;
        if !error.code.is_transient() || self.max_attempts <= 1 {
            return None;
        }
        let is_there = attempt.answered_before
            || matches!(error.code, ErrorCode::Overloaded | ErrorCode::OverQuota);
        if !is_there && attempt.attempts >= self.max_attempts {
            return None;
        }
        let jitter = self.delay_bound(attempt.attempts).mul_f64(chance);
        let delay = error.retry_delay.unwrap_or_default().saturating_add(jitter);
        (delay < attempt.time_left).then_some(delay)
    }

    /// Bound of the wait after the attempt with this 1-based number.
    fn delay_bound(&self, attempts: u32) -> Duration {
        backoff::bound(self.base_delay, self.max_delay, attempts.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn delay(
        error: &JuryError,
        attempts: u32,
        time_left: Duration,
        chance: f64,
    ) -> Option<Duration> {
        let attempt = Attempt { error, attempts, time_left, answered_before: false };
        RetryPolicy::default().delay(attempt, chance)
    }

    fn of(code: ErrorCode) -> JuryError {
        JuryError::new(code, "what happened")
    }

    #[test]
    fn only_transient_errors_are_retried() {
        for code in ErrorCode::ALL {
            let retried = delay(&of(code), 1, HOUR, 0.5).is_some();
            assert_eq!(retried, code.is_transient(), "{code:?}");
        }
    }

    #[test]
    fn a_service_that_never_answered_is_given_up_and_one_that_did_is_tried_until_the_deadline() {
        let error = of(ErrorCode::Unreachable);
        assert!(delay(&error, 4, HOUR, 0.0).is_some());
        assert!(delay(&error, 5, HOUR, 0.0).is_none());
        let known =
            Attempt { error: &error, attempts: 1000, time_left: HOUR, answered_before: true };
        assert!(RetryPolicy::default().delay(known, 0.9).is_some());
        let late = Attempt { time_left: Duration::from_secs(1), ..known };
        assert!(RetryPolicy::default().delay(late, 0.9).is_none());
    }

    #[test]
    fn an_overloaded_service_is_retried_until_the_deadline() {
        assert!(delay(&of(ErrorCode::Overloaded), 1000, HOUR, 0.9).is_some());
    }

    #[test]
    fn never_means_never() {
        let error = JuryError::overloaded("full", Duration::ZERO);
        let attempt =
            Attempt { error: &error, attempts: 1, time_left: HOUR, answered_before: true };
        assert_eq!(RetryPolicy::NEVER.delay(attempt, 0.0), None);
    }

    proptest! {
        #[test]
        fn a_wait_never_outlasts_the_deadline(
            attempts in 1..100_u32, hint_ms in 0..10_000_u64, left_ms in 0..10_000_u64, chance in 0.0..1.0,
        ) {
            let error = JuryError::overloaded("full", Duration::from_millis(hint_ms));
            let left = Duration::from_millis(left_ms);
            if let Some(wait) = delay(&error, attempts, left, chance) {
                prop_assert!(wait < left);
            }
        }

        #[test]
        fn a_wait_is_at_least_what_the_service_asked_for(
            attempts in 1..100_u32, hint_ms in 0..10_000_u64, chance in 0.0..1.0,
        ) {
            let hint = Duration::from_millis(hint_ms);
            let wait = delay(&JuryError::overloaded("full", hint), attempts, HOUR, chance);
            prop_assert!(wait.is_some_and(|wait| wait >= hint));
        }

        #[test]
        fn jitter_stays_below_a_bound_that_doubles_up_to_the_limit(
            attempts in 1..100_u32, chance in 0.0..1.0,
        ) {
            let policy = RetryPolicy::default();
            let bound = policy.delay_bound(attempts);
            prop_assert!(bound <= policy.max_delay);
            prop_assert!(bound <= policy.delay_bound(attempts + 1));
            let wait = delay(&of(ErrorCode::Overloaded), attempts, HOUR, chance);
            prop_assert!(wait.is_some_and(|wait| wait <= bound));
        }
    }
}
