//! Limits the samples queued at a backend, and measures its load. Counts samples from their group's start to their own
//! end.
//!
//! ```text
//! seat(n) -> waiting --begin()--> running up to the capacity, the rest wait --keep(owed)--> free
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Load;

/// The seats of a backend: the samples that it draws at once, plus those that may wait.
#[derive(Debug)]
pub(super) struct Occupancy {
    /// Samples that are drawn at once.
    capacity: usize,
    /// Samples that may be in the backend, drawn or waiting.
    limit: usize,
    taken: Mutex<Taken>,
}

/// Samples in the backend.
#[derive(Debug, Default)]
struct Taken {
    /// Samples of groups that the model has not been given yet.
    waiting: usize,
    /// Samples of groups that the model has.
    begun: usize,
}

/// The seats of one group; dropping this returns the remaining ones.
#[derive(Debug)]
pub(super) struct Seats {
    occupancy: Arc<Occupancy>,
    held: usize,
    has_begun: bool,
}

// === impl Occupancy ===

impl Occupancy {
    pub(super) fn new(capacity: usize, max_queued: usize) -> Self {
        Self { capacity, limit: capacity.saturating_add(max_queued), taken: Mutex::default() }
    }

    /// Seats for a group, all or none. An idle backend seats a group of any size; otherwise the largest groups could
    /// never run.
    pub(super) fn seat(self: &Arc<Self>, n_samples: usize) -> Option<Seats> {
        let mut taken = self.lock();
        let inside = taken.waiting + taken.begun;
        if inside > 0 && inside.saturating_add(n_samples) > self.limit {
            return None;
        }
        taken.waiting += n_samples;
        Some(Seats { occupancy: self.clone(), held: n_samples, has_begun: false })
    }

    /// The backend's load after this many steps of its model. Samples that the model has not been given count as queued
    /// whatever the capacity: while any are running, the model has work and its steps grow.
    pub(super) fn load(&self, steps: u64) -> Load {
        let to_u32 = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let taken = self.lock();
        let running = taken.begun.min(self.capacity);
        Load {
            running: to_u32(running),
            queued: to_u32(taken.begun - running + taken.waiting),
            capacity: to_u32(self.capacity),
            steps,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // No critical section can leave the counts partly changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seats ===

impl Seats {
    /// The model now has the group.
    pub(super) fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let mut taken = self.occupancy.lock();
            taken.waiting -= self.held;
            taken.begun += self.held;
        }
    }

    /// Keeps seats for `n_samples` and returns the others.
    pub(super) fn keep(&mut self, n_samples: usize) {
        let given_back = self.held.saturating_sub(n_samples);
        self.held -= given_back;
        let mut taken = self.occupancy.lock();
        match self.has_begun {
            true => taken.begun -= given_back,
            false => taken.waiting -= given_back,
        }
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

    fn running(running: u32, queued: u32) -> Load {
        Load { running, queued, capacity: 4, steps: 7 }
    }

    #[test]
    fn a_full_backend_refuses_and_a_freed_seat_is_given_again() {
        let occupancy = Arc::new(Occupancy::new(4, 4));
        let mut first = occupancy.seat(6).unwrap();
        assert!(occupancy.seat(3).is_none());
        let mut second = occupancy.seat(2).unwrap();
        first.begin();
        second.begin();
        assert_eq!(occupancy.load(7), running(4, 4));
        first.keep(1);
        assert_eq!(occupancy.load(7), running(3, 0));
        drop((first, second));
        assert_eq!(occupancy.load(7), running(0, 0));
    }

    #[test]
    fn what_the_model_was_not_given_is_queued_and_never_running() {
        let occupancy = Arc::new(Occupancy::new(4, 4));
        let mut seats = occupancy.seat(3).unwrap();
        assert_eq!(occupancy.load(7), running(0, 3));
        seats.keep(2);
        seats.begin();
        seats.begin();
        assert_eq!(occupancy.load(7), running(2, 0));
    }

    #[test]
    fn an_idle_backend_takes_a_group_of_any_size() {
        let occupancy = Arc::new(Occupancy::new(4, 0));
        let seats = occupancy.seat(100).unwrap();
        assert!(occupancy.seat(1).is_none());
        drop(seats);
        assert!(occupancy.seat(1).is_some());
    }
}
