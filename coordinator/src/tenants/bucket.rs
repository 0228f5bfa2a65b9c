//! A per-minute quota as a bucket that fills evenly. Pure, and in whole numbers, so that the reported waiting time is
//! exact.
//!
//! A bucket holds one minute's worth. A larger amount passes if the bucket is full, and leaves it in debt; otherwise
//! it could never pass.
//! debt, or it could never be let through.

use std::time::{Duration, Instant};

/// Nanoseconds per minute: a unit costs this many parts, and each nanosecond adds `per_minute` of them.
const PARTS: i128 = 60_000_000_000;

/// The remaining part of a quota.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_minute: u64,
    /// In parts of a unit; negative if in debt.
    level: i128,
    as_of: Instant,
}

// === impl Bucket ===

impl Bucket {
    /// A full bucket.
    pub fn new(per_minute: u64, now: Instant) -> Self {
        Self { per_minute, level: i128::from(per_minute) * PARTS, as_of: now }
    }

    /// Units per minute.
    pub fn per_minute(&self) -> u64 {
        self.per_minute
    }

    /// Changes the quota; what is left stays, up to the new limit.
    pub fn set(&mut self, per_minute: u64, now: Instant) {
        self.fill(now);
        self.per_minute = per_minute;
        self.level = self.level.min(self.full());
    }

    /// Time until `n` units may be taken if nothing else is; zero means now.
    pub fn wait_for(&mut self, n: u64, now: Instant) -> Duration {
        self.fill(now);
        let missing = (i128::from(n) * PARTS).min(self.full()) - self.level;
        if missing <= 0 {
            return Duration::ZERO;
        }
        let rate = i128::from(self.per_minute.max(1));
        let nanoseconds = (missing + rate - 1) / rate;
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Takes `n` units, going into debt if fewer are left.
    pub fn take(&mut self, n: u64, now: Instant) {
        self.fill(now);
        self.level -= i128::from(n) * PARTS;
    }

    /// Gives `n` units back.
    pub fn give_back(&mut self, n: u64, now: Instant) {
        self.fill(now);
        self.level = (self.level + i128::from(n) * PARTS).min(self.full());
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.as_of).as_nanos();
        // Three centuries fill any bucket.
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let brought = i128::from(elapsed) * i128::from(self.per_minute);
        self.level = (self.level + brought).min(self.full());
        self.as_of = self.as_of.max(now);
    }

    fn full(&self) -> i128 {
        i128::from(self.per_minute) * PARTS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NANOSECOND: Duration = Duration::from_nanos(1);

    proptest! {
        #[test]
        fn the_wait_that_is_told_is_exact(
            per_minute in 1u64..1_000_000,
            taken in prop::collection::vec((1u64..5_000, 0u64..100_000_000_000), 1..20),
            n in 1u64..2_000_000,
        ) {
            let start = Instant::now();
            let (mut bucket, mut now) = (Bucket::new(per_minute, start), start);
            for (units, pause) in taken {
                bucket.take(units, now);
                now += Duration::from_nanos(pause);
            }
            let wait = bucket.wait_for(n, now);
            prop_assert_eq!(bucket.clone().wait_for(n, now + wait), Duration::ZERO);
            if wait > Duration::ZERO {
                let just_before = now + wait.saturating_sub(NANOSECOND);
                prop_assert!(bucket.wait_for(n, just_before) > Duration::ZERO);
            }
        }

        #[test]
        fn no_more_is_taken_than_a_full_bucket_and_what_the_time_brings(
            per_minute in 1u64..10_000,
            asks in prop::collection::vec((1u64..500, 0u64..20_000_000_000), 1..100),
        ) {
            let start = Instant::now();
            let (mut bucket, mut now, mut taken) = (Bucket::new(per_minute, start), start, 0);
            for (units, pause) in asks {
                now += Duration::from_nanos(pause);
                if bucket.wait_for(units, now).is_zero() {
                    bucket.take(units, now);
                    taken += units;
                }
                let brought = per_minute as f64 * (1.0 + (now - start).as_secs_f64() / 60.0);
                // An amount larger than the bucket may have passed into debt.
                prop_assert!(taken as f64 <= brought + 500.0);
            }
        }
    }

    #[test]
    fn what_is_larger_than_a_minute_brings_is_let_through_by_a_full_bucket() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, start);
        assert_eq!(bucket.wait_for(256, start), Duration::ZERO);
        bucket.take(256, start);
        assert_eq!(bucket.wait_for(1, start), Duration::from_secs(256 - 60 + 1));
        bucket.give_back(1000, start);
        assert_eq!(bucket.wait_for(60, start), Duration::ZERO, "never more than full");
    }
}
