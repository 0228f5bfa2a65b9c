//! The caller of a group, at whatever stage in the backend the group is.

use crate::backend::{CancelRequests, Cancelled, GroupEvents};

/// The channels to and from a group's caller.
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

    /// What has been cancelled since the last call.
    pub(super) fn take_cancelled(&self) -> Cancelled {
        if self.events.is_closed() { Cancelled::Group } else { self.cancels.take() }
    }

    /// For a group that the engine does not have yet: ends the cancelled samples. False if none are left.
    pub(super) fn wants_any(&mut self) -> bool {
        let cancelled = self.take_cancelled();
        self.events.apply(&cancelled)
    }
}
