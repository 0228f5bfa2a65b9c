//! When to try again: exponential waits with full jitter.
//!
//! When a server fails, all its clients lose it at the same moment; without jitter they would all come back at the
//! same moment too. The random number is an argument, so that the schedule can be tested.

use std::time::Duration;

/// The doubling bound: `first`, then twice that after one failure, four times that after two, and never more than
/// `longest`.
pub fn bound(first: Duration, longest: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

/// The waits during one series of failures.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// Upper bound of the first wait.
    first: Duration,
    /// Upper bound of every wait.
    longest: Duration,
    /// Failures since the last success.
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Waits of up to `first`, then twice that, four times that, and so on, never more than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The wait after one more failure, uniform between zero and the bound. `chance` is a number in [0, 1), normally
    /// random.
    pub fn next_wait(&mut self, chance: f64) -> Duration {
        let bound = bound(self.first, self.longest, self.failures);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// Records a success: the next failure waits as long as the first one did.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn the_bound_doubles_up_to_the_longest_wait() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let bounds: Vec<u128> = (0..8).map(|_| backoff.next_wait(1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn the_wait_is_spread_over_all_of_the_bound() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        assert_eq!(backoff.next_wait(0.0), Duration::ZERO);
        assert_eq!(backoff.next_wait(0.5), FIRST);
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        backoff.next_wait(1.0);
        backoff.next_wait(1.0);
        backoff.reset();
        assert_eq!(backoff.next_wait(1.0), FIRST);
    }

    #[test]
    fn a_failure_that_lasts_for_years_overflows_nothing() {
        let mut backoff = Backoff { failures: u32::MAX, ..Backoff::new(FIRST, LONGEST) };
        assert_eq!(backoff.next_wait(1.0), LONGEST);
    }
}
