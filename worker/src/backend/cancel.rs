//! A group's cancels on their way in: never lost, never waiting, whatever the backend is doing.
//!
//! A shared list rather than messages: a mailbox may be full, a list is not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
    /// The whole group: nobody waits for it.
    Group,
}

#[derive(Debug, Default)]
struct Shared {
    /// Requests that the backend has not taken yet.
    untaken: Mutex<Cancelled>,
    /// Told of every request.
    changed: Notify,
}

// === impl GroupHandle ===

impl GroupHandle {
    /// A handle with the backend's end of it.
    pub fn new() -> (Self, CancelRequests) {
        let shared = Arc::new(Shared::default());
        let requests = CancelRequests { shared: shared.clone() };
        (Self { shared }, requests)
    }

    /// Cancels some samples. Those that have ended, or are not of the group, are ignored.
    pub fn cancel(&self, indices: &[u32]) {
        let mut untaken = self.shared.lock();
        match &mut *untaken {
            Cancelled::Nothing => *untaken = Cancelled::Samples(indices.iter().copied().collect()),
            Cancelled::Samples(samples) => samples.extend(indices),
            Cancelled::Group => {}
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
    /// Takes what was cancelled since the last call.
    pub fn take(&self) -> Cancelled {
        std::mem::take(&mut *self.shared.lock())
    }

    /// Waits for a cancel, and takes it. Cancel-safe.
    pub async fn next(&self) -> Cancelled {
        loop {
            match self.take() {
                Cancelled::Nothing => self.shared.changed.notified().await,
                cancelled => return cancelled,
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Cancelled> {
        // Every critical section is a single assignment, so a poisoned value is still whole.
        self.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancels_add_up_until_they_are_taken() {
        let (handle, requests) = GroupHandle::new();
        handle.cancel(&[3, 1]);
        handle.cancel(&[1, 2]);
        assert_eq!(requests.take(), Cancelled::Samples([1, 2, 3].into()));
        assert_eq!(requests.take(), Cancelled::Nothing);
    }

    #[test]
    fn a_dropped_handle_cancels_everything() {
        let (handle, requests) = GroupHandle::new();
        handle.cancel(&[0]);
        drop(handle);
        assert_eq!(requests.take(), Cancelled::Group);
    }

    #[tokio::test]
    async fn a_cancel_before_the_wait_is_not_missed() {
        let (handle, requests) = GroupHandle::new();
        handle.cancel(&[5]);
        assert_eq!(requests.next().await, Cancelled::Samples([5].into()));
    }
}
