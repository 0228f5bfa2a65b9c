//! Which groups may start, which are in progress, and when those must leave.
//!
//! ```text
//! open <--open()--close()--> closed: no new groups, others continue --cut()--> others leave now, for good
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The gate that every group passes; clones share state.
#[derive(Debug, Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

/// A group in progress; dropping this makes it leave.
#[derive(Debug)]
pub(super) struct Permit {
    inner: Arc<Inner>,
    number: u64,
}

/// A group that has not finished, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The request's id.
    pub request_id: String,
    /// Samples in the group at its start.
    pub samples: usize,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Number of groups in progress, to wait on.
    inside: watch::Sender<usize>,
    /// Fires when the groups in progress must leave.
    cut: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    next_number: u64,
    /// Groups in progress, by their number.
    groups: BTreeMap<u64, Unfinished>,
}

// === impl Gate ===

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        let inner = Inner {
            state: Mutex::default(),
            inside: watch::Sender::new(0),
            cut: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// True while no groups are admitted.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Admits a group, or trajectories; `None` when the gate is closed.
    pub(super) fn enter(&self, request_id: &str, samples: usize) -> Option<Permit> {
        let mut state = self.inner.lock();
        if state.closed {
            return None;
        }
        let number = state.next_number;
        state.next_number += 1;
        let entered = Unfinished { request_id: request_id.to_owned(), samples };
        state.groups.insert(number, entered);
        self.inner.inside.send_replace(state.groups.len());
        drop(state);
        Some(Permit { inner: self.inner.clone(), number })
    }

    /// Admits no groups from now on.
    pub fn close(&self) {
        self.inner.lock().closed = true;
    }

    /// Admits groups again, unless [`Self::cut`] was called.
    pub fn open(&self) {
        self.inner.lock().closed = self.inner.cut.is_cancelled();
    }

    /// Waits until no group is in progress.
    pub async fn empty(&self) {
        let mut inside = self.inner.inside.subscribe();
        inside.wait_for(|&n| n == 0).await.expect("the sender is in self");
    }

    /// Makes the groups in progress leave, and returns them.
    pub fn cut(&self) -> Vec<Unfinished> {
        self.close();
        self.inner.cut.cancel();
        self.inner.lock().groups.values().cloned().collect()
    }
}

// === impl Permit ===

impl Permit {
    /// Waits until this group must leave.
    pub(super) async fn cut(&self) {
        self.inner.cut.cancelled().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.groups.remove(&self.number);
        self.inner.inside.send_replace(state.groups.len());
    }
}

// === impl Inner ===

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section can leave the state partly changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_gate_admits_nobody_and_waits_for_those_inside() {
        let gate = Gate::new();
        let permit = gate.enter("example", 1).unwrap();
        gate.close();
        assert!(gate.enter("example", 1).is_none());
        let mut empty = std::pin::pin!(gate.empty());
        assert!(futures::poll!(empty.as_mut()).is_pending());
        drop(permit);
        empty.await;
    }

    #[tokio::test]
    async fn a_gate_is_opened_again_unless_those_inside_had_to_leave() {
        let gate = Gate::new();
        gate.close();
        gate.open();
        drop(gate.enter("example", 1).unwrap());
        gate.cut();
        gate.open();
        assert!(gate.enter("example", 1).is_none());
    }

    #[tokio::test]
    async fn a_cut_says_who_is_left() {
        let gate = Gate::new();
        let permit = gate.enter("example", 3).unwrap();
        let left = gate.cut();
        assert_eq!(left, [Unfinished { request_id: "example".into(), samples: 3 }]);
        permit.cut().await;
        assert!(gate.enter("example", 1).is_none());
    }
}
