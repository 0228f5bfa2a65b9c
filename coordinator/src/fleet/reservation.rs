//! Samples assigned to a worker, counted against it until they end.

use std::fmt;

use jury_fabric::transport::Channel;

use super::{Fleet, WorkerRef};

/// Samples reserved at one registration of a worker, and the channel to it. Dropping it gives back those that have not
/// ended.
pub struct Reservation {
    pub(super) fleet: Fleet,
    pub(super) worker: WorkerRef,
    pub(super) channel: Channel,
    pub(super) n_held: u32,
}

// === impl Reservation ===

impl Reservation {
    /// The worker that holds these samples.
    pub fn worker(&self) -> &WorkerRef {
        &self.worker
    }

    /// The channel to the worker.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// One sample ended. Calls beyond the number reserved have no effect.
    pub fn give_back_one(&mut self) {
        if self.n_held > 0 {
            self.n_held -= 1;
            self.fleet.roster().release(&self.worker, 1);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.n_held > 0 {
            // The call is gone, so the worker cannot report on it that its load went down.
            self.fleet.roster().abandon(&self.worker, self.n_held);
            self.fleet.check_soon(&self.worker);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("worker", &self.worker)
            .field("n_held", &self.n_held)
            .finish_non_exhaustive()
    }
}
