//! The admission queue as a state machine: it knows tickets and sample counts, no time, no tasks.

use std::collections::VecDeque;

use super::forecast::Line;

/// Samples that may always run: a fleet that is not known yet must not block the first requests,
/// which wait for it elsewhere.
const LEAST_CAPACITY: u32 = 64;

/// Names a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What becomes of a request that asks to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It runs.
    Granted,
    /// It waits.
    Queued(Ticket),
    /// It is refused.
    Full {
        /// Requests that wait.
        waiting: usize,
    },
}

/// First come, first served, within a number of samples.
#[derive(Debug)]
pub struct Queue {
    capacity_samples: u32,
    running_samples: u32,
    n_running: usize,
    waiting: VecDeque<(Ticket, u32)>,
    queue_limit: usize,
    next_ticket: u64,
}

// === impl Queue ===

impl Queue {
    /// An empty queue for at most `queue_limit` waiting requests.
    pub fn new(queue_limit: usize) -> Self {
        Self {
            capacity_samples: LEAST_CAPACITY,
            running_samples: 0,
            n_running: 0,
            waiting: VecDeque::new(),
            queue_limit,
            next_ticket: 0,
        }
    }

    /// A request of `n_samples` asks to start.
    pub fn offer(&mut self, n_samples: u32) -> Offer {
        if self.waiting.is_empty() && self.fits(n_samples) {
            self.start(n_samples);
            return Offer::Granted;
        }
        if self.waiting.len() >= self.queue_limit {
            return Offer::Full { waiting: self.waiting.len() };
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.push_back((ticket, n_samples));
        Offer::Queued(ticket)
    }

    /// A running request of `n_samples` ended. Returns who runs now.
    pub fn release(&mut self, n_samples: u32) -> Vec<(Ticket, u32)> {
        self.running_samples -= n_samples;
        self.n_running -= 1;
        self.admit_waiting()
    }

    /// A waiting request goes away; one that was granted already is not here any more.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
    }

    /// The fleet can draw `n_samples` at once from now on. Returns who runs now.
    pub fn set_capacity(&mut self, n_samples: u32) -> Vec<(Ticket, u32)> {
        self.capacity_samples = n_samples.max(LEAST_CAPACITY);
        self.admit_waiting()
    }

    /// How long the line is.
    pub fn state(&self) -> Line {
        let waiting = self.waiting.iter().map(|(_, n_samples)| *n_samples);
        let waiting_samples = waiting.fold(0, u32::saturating_add);
        Line { places: self.capacity_samples, waiting_samples }
    }

    /// Requests that run.
    pub fn n_running(&self) -> usize {
        self.n_running
    }

    /// Requests that wait.
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A request larger than the whole capacity runs alone.
    fn fits(&self, n_samples: u32) -> bool {
        self.n_running == 0 || self.running_samples + n_samples <= self.capacity_samples
    }

    fn start(&mut self, n_samples: u32) {
        self.running_samples += n_samples;
        self.n_running += 1;
    }

    fn admit_waiting(&mut self) -> Vec<(Ticket, u32)> {
        let mut admitted = Vec::new();
        while let Some(&(ticket, n_samples)) = self.waiting.front() {
            if !self.fits(n_samples) {
                break;
            }
            self.waiting.pop_front();
            self.start(n_samples);
            admitted.push((ticket, n_samples));
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_larger_than_the_fleet_still_runs() {
        let mut queue = Queue::new(1);
        assert_eq!(queue.offer(256), Offer::Granted);
        assert!(matches!(queue.offer(1), Offer::Queued(_)));
    }

    #[test]
    fn nobody_overtakes() {
        let mut queue = Queue::new(9);
        queue.offer(60);
        let Offer::Queued(large) = queue.offer(60) else { panic!("does not fit") };
        let Offer::Queued(small) = queue.offer(1) else { panic!("would overtake") };
        let granted = queue.release(60);
        assert_eq!(granted, [(large, 60), (small, 1)]);
    }

    proptest! {
        #[test]
        fn granted_is_offered_and_the_capacity_is_kept(
            sizes in prop::collection::vec(1u32..40, 1..50), limit in 1usize..20,
        ) {
            let mut queue = Queue::new(limit);
            let (mut running, mut waiting, mut ended) = (Vec::new(), Vec::new(), 0);
            let mut refused = 0;
            for &size in &sizes {
                match queue.offer(size) {
                    Offer::Granted => running.push(size),
                    Offer::Queued(ticket) => waiting.push((ticket, size)),
                    Offer::Full { waiting } => { prop_assert_eq!(waiting, limit); refused += 1; }
                }
                prop_assert!(running.len() <= 1 || running.iter().sum::<u32>() <= LEAST_CAPACITY);
                prop_assert!(waiting.len() <= limit);
            }
            while let Some(size) = running.pop() {
                ended += 1;
                let granted = queue.release(size);
                for grant in granted {
                    prop_assert_eq!(grant, waiting.remove(0));
                    running.push(grant.1);
                }
            }
            prop_assert_eq!(ended + refused, sizes.len());
            prop_assert_eq!(queue.n_waiting(), 0);
        }
    }
}
