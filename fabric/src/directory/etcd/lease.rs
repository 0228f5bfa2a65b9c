//! When to renew a lease, and whether the key under it still belongs to the worker: pure.

use std::time::Duration;

/// Shortest wait between two renewals: an etcd that grants no time must not be called in a tight loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);

/// What is stored under a worker's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyState {
    /// The worker's own value under its own lease.
    Held,
    /// Nothing, or something that the worker should overwrite.
    Missing,
    /// Another worker has registered there under its own lease.
    TakenOver,
}

/// Time until the next renewal: half of the lease's remaining time, minus up to a fifth of that, so that workers
/// which started together do not renew together. `chance` is a number in [0, 1).
pub(super) fn renew_after(remaining: Duration, chance: f64) -> Duration {
    (remaining / 2).mul_f64(1.0 - 0.2 * chance.clamp(0.0, 1.0)).max(SHORTEST_WAIT)
}

/// Classifies what was found under the worker's key: its value and the lease that holds it.
pub(super) fn judge_key(
    found: Option<(&[u8], i64)>,
    own_value: &[u8],
    own_lease_id: i64,
) -> KeyState {
    match found {
        None => KeyState::Missing,
        Some((_, lease_id)) if lease_id != own_lease_id => KeyState::TakenOver,
        Some((value, _)) if value != own_value => KeyState::Missing,
        Some(_) => KeyState::Held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_before_half_of_what_remains_is_over() {
        let remaining = Duration::from_secs(10);
        assert_eq!(renew_after(remaining, 0.0), Duration::from_secs(5));
        assert_eq!(renew_after(remaining, 1.0), Duration::from_secs(4));
        let late = Duration::from_secs(3);
        assert!(renew_after(late, 0.0) <= late / 2, "it is the remaining time that counts");
    }

    #[test]
    fn renewals_never_run_in_a_tight_loop() {
        assert_eq!(renew_after(Duration::ZERO, 0.5), SHORTEST_WAIT);
    }

    #[test]
    fn a_worker_is_registered_only_by_its_own_value_under_its_own_lease() {
        let judge = |found| judge_key(found, b"mine", 7);
        assert_eq!(judge(Some((b"mine".as_slice(), 7))), KeyState::Held);
        assert_eq!(judge(None), KeyState::Missing);
        assert_eq!(judge(Some((b"altered".as_slice(), 7))), KeyState::Missing);
        assert_eq!(judge(Some((b"other".as_slice(), 8))), KeyState::TakenOver);
        assert_eq!(judge(Some((b"mine".as_slice(), 8))), KeyState::TakenOver);
    }
}
