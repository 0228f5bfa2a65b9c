//! Who may queue at an engine, and how busy it is. Counts samples, from their group's start to their own end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::Load;

/// The seats of an engine: its lanes, and as many more as may wait.
#[derive(Debug)]
pub(super) struct Occupancy {
    /// Samples that decode at once.
    capacity: usize,
    /// Samples that may be inside, decoding or waiting.
    limit: usize,
    /// Samples inside.
    taken: AtomicUsize,
}

/// The seats of one group; those not yet given back are, when this is dropped.
#[derive(Debug)]
pub(super) struct Seats {
    occupancy: Arc<Occupancy>,
    held: usize,
}

// === impl Occupancy ===

impl Occupancy {
    pub(super) fn new(capacity: usize, max_queued: usize) -> Self {
        Self { capacity, limit: capacity + max_queued, taken: AtomicUsize::new(0) }
    }

    /// Seats for a group, all or none. A group that finds nobody inside gets them whatever its size, else the
    /// largest groups could never run.
    pub(super) fn seat(self: &Arc<Self>, n_samples: usize) -> Option<Seats> {
        let taken = |taken: usize| {
            let fits = taken == 0 || taken + n_samples <= self.limit;
            fits.then_some(taken + n_samples)
        };
        let seated = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken);
        seated.ok().map(|_| Seats { occupancy: self.clone(), held: n_samples })
    }

    /// How busy the engine is.
    pub(super) fn load(&self) -> Load {
        let to_u32 = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let taken = self.taken.load(Ordering::Acquire);
        Load {
            running: to_u32(taken.min(self.capacity)),
            queued: to_u32(taken.saturating_sub(self.capacity)),
            capacity: to_u32(self.capacity),
            steps: 0,
        }
    }
}

// === impl Seats ===

impl Seats {
    /// Keeps seats for `n_samples` and gives back the others.
    pub(super) fn keep(&mut self, n_samples: usize) {
        let given_back = self.held.saturating_sub(n_samples);
        self.held -= given_back;
        self.occupancy.taken.fetch_sub(given_back, Ordering::AcqRel);
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.keep(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_engine_refuses_and_a_freed_seat_is_given_again() {
        let occupancy = Arc::new(Occupancy::new(4, 4));
        let mut first = occupancy.seat(6).unwrap();
        assert!(occupancy.seat(3).is_none());
        let second = occupancy.seat(2).unwrap();
        assert_eq!(occupancy.load(), Load { running: 4, queued: 4, capacity: 4, steps: 0 });
        first.keep(1);
        assert_eq!(occupancy.load(), Load { running: 3, queued: 0, capacity: 4, steps: 0 });
        drop((first, second));
        assert_eq!(occupancy.load().running, 0);
    }

    #[test]
    fn an_idle_engine_takes_a_group_of_any_size() {
        let occupancy = Arc::new(Occupancy::new(4, 0));
        let seats = occupancy.seat(100).unwrap();
        assert!(occupancy.seat(1).is_none());
        drop(seats);
        assert!(occupancy.seat(1).is_some());
    }
}
