//! Carries a group's cancels to the backend: never lost, never blocking, whatever the backend is doing.
//!
//! A shared list rather than messages, because a mailbox can be full and a list cannot. The end of the group's time is
//! treated as a cancel, so a backend that honours cancels drops samples that are no longer wanted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jury_proto::convert::SampleGroup;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The caller's end. Dropping it cancels the whole group.
#[derive(Debug)]
pub struct GroupHandle {
    shared: Arc<Shared>,
}

/// The backend's end.
#[derive(Debug, Clone)]
pub struct CancelRequests {
    shared: Arc<Shared>,
}

/// What a caller no longer wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cancelled {
    /// Everything is still wanted.
    #[default]
    Nothing,
    /// These samples, by their index in the plan.
    Samples(BTreeSet<u32>),
    /// All remaining samples: the group's time is up.
    TimedOut,
    /// The whole group: its caller is gone.
    Group,
}

#[derive(Debug)]
struct Shared {
    /// Cancels that the backend has not taken yet.
    untaken: Mutex<Cancelled>,
    /// Notified of every cancel.
    changed: Notify,
    /// When the group's time is up; `None`: never.
    deadline: Option<Instant>,
}

// === impl GroupHandle ===

impl GroupHandle {
    /// Creates a handle and the backend's end of it. The group's remaining time counts from now.
    pub fn new(group: &SampleGroup) -> (Self, CancelRequests) {
        let remaining = group.remaining_ms.map(Duration::from_millis);
        let shared = Arc::new(Shared {
            untaken: Mutex::default(),
            changed: Notify::new(),
            deadline: remaining.and_then(|remaining| Instant::now().checked_add(remaining)),
        });
        let requests = CancelRequests { shared: shared.clone() };
        (Self { shared }, requests)
    }

    /// Cancels some samples. Samples that have ended or do not belong to the group are ignored.
    pub fn cancel(&self, indices: &[u32]) {
        let mut untaken = self.shared.lock();
        match &mut *untaken {
            Cancelled::Samples(samples) => samples.extend(indices),
            Cancelled::Group => {}
            Cancelled::Nothing | Cancelled::TimedOut => {
                *untaken = Cancelled::Samples(indices.iter().copied().collect());
            }
        }
        drop(untaken);
        self.shared.changed.notify_one();
    }
}

impl Drop for GroupHandle {
    fn drop(&mut self) {
        *self.shared.lock() = Cancelled::Group;
        self.shared.changed.notify_one();
    }
}

// === impl CancelRequests ===

impl CancelRequests {
    /// Takes what was cancelled since the last call. If nothing was and the time is up, returns
    /// [`Cancelled::TimedOut`].
    pub fn take(&self) -> Cancelled {
        match std::mem::take(&mut *self.shared.lock()) {
            Cancelled::Nothing if self.shared.time_is_up() => Cancelled::TimedOut,
            cancelled => cancelled,
        }
    }

    /// Waits for a cancel or the end of the time, and takes it. Cancel-safe.
    pub async fn next(&self) -> Cancelled {
        loop {
            match (self.take(), self.shared.deadline) {
                (Cancelled::Nothing, None) => self.shared.changed.notified().await,
                (Cancelled::Nothing, Some(deadline)) => {
                    // The next `take` detects the end of the time, as it does a cancel.
                    let changed = self.shared.changed.notified();
                    drop(tokio::time::timeout_at(deadline, changed).await);
                }
                (cancelled, _) => return cancelled,
            }
        }
    }

    /// True when nothing of the group is wanted any more. Takes nothing.
    pub fn is_over(&self) -> bool {
        *self.shared.lock() == Cancelled::Group || self.shared.time_is_up()
    }
}

// === impl Shared ===

impl Shared {
    fn time_is_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn lock(&self) -> MutexGuard<'_, Cancelled> {
        // Every critical section is a single assignment, so a poisoned value is still consistent.
        self.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::scripted::example_group;

    fn timed(remaining_ms: Option<u64>) -> (GroupHandle, CancelRequests) {
        GroupHandle::new(&SampleGroup { remaining_ms, ..example_group(4) })
    }

    #[test]
    fn cancels_add_up_until_they_are_taken() {
        let (handle, requests) = timed(None);
        handle.cancel(&[3, 1]);
        handle.cancel(&[1, 2]);
        assert_eq!(requests.take(), Cancelled::Samples([1, 2, 3].into()));
        assert_eq!(requests.take(), Cancelled::Nothing);
        assert!(!requests.is_over());
    }

    #[test]
    fn a_dropped_handle_cancels_everything() {
        let (handle, requests) = timed(Some(0));
        handle.cancel(&[0]);
        drop(handle);
        assert!(requests.is_over());
        assert_eq!(requests.take(), Cancelled::Group);
    }

    #[tokio::test]
    async fn a_cancel_before_the_wait_is_not_missed() {
        let (handle, requests) = timed(None);
        handle.cancel(&[5]);
        assert_eq!(requests.next().await, Cancelled::Samples([5].into()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_left_cancels_the_rest_when_it_is_up() {
        let began = Instant::now();
        let (handle, requests) = timed(Some(250));
        handle.cancel(&[1]);
        assert_eq!(requests.next().await, Cancelled::Samples([1].into()));
        assert_eq!(requests.next().await, Cancelled::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_millis(250));
        assert!(requests.is_over());
    }

    #[test]
    fn a_time_beyond_all_clocks_is_no_limit() {
        assert_eq!(timed(Some(u64::MAX)).1.take(), Cancelled::Nothing);
    }
}
