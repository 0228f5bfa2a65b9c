//! Who waits for a group, wherever in the backend it is.

use crate::backend::{CancelRequests, Cancelled, GroupEvents};

/// The ways from and to a group's caller.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) events: GroupEvents,
    cancels: CancelRequests,
}

// === impl Caller ===

impl Caller {
    pub(super) fn new(events: GroupEvents, cancels: CancelRequests) -> Self {
        Self { events, cancels }
    }

    /// What is no longer wanted since the last call.
    pub(super) fn take_cancelled(&self) -> Cancelled {
        if self.events.is_closed() { Cancelled::Group } else { self.cancels.take() }
    }

    /// For a group that the engine does not have: ends what is no longer wanted. False when nothing is left.
    pub(super) fn wants_any(&mut self) -> bool {
        let cancelled = self.take_cancelled();
        self.events.apply(&cancelled)
    }
}
