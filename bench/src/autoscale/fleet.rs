//! Workers that start slowly, draw samples of one length, and drain before they leave.

use std::collections::VecDeque;

use super::control::Demand;

/// What all workers are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetSettings {
    /// Samples that a worker draws at once.
    pub capacity: u32,
    /// Seconds that a sample takes.
    pub sample_seconds: u32,
    /// Seconds from the wish for a worker to its first sample.
    pub start_seconds: u32,
}

/// A coordinator admits so many samples for each place, so that a worker always has its next group at hand.
const ADMITTED_PER_PLACE: u32 = 2;

/// The fleet at one second.
#[derive(Debug)]
pub struct Fleet {
    settings: FleetSettings,
    waiting: u32,
    /// (second of its end, samples) that run, in order.
    running: VecDeque<(u32, u32)>,
    n_running: u32,
    /// A sample has ended: how long one takes is known.
    has_ended: bool,
    /// Seconds at which workers under way will be ready, in order.
    starting: VecDeque<u32>,
    ready: u32,
}

// === impl Fleet ===

impl Fleet {
    /// Nobody is there, nothing is asked.
    pub fn new(settings: FleetSettings) -> Self {
        Self {
            settings,
            waiting: 0,
            running: VecDeque::new(),
            n_running: 0,
            has_ended: false,
            starting: VecDeque::new(),
            ready: 0,
        }
    }

    /// More samples are asked for.
    pub fn ask(&mut self, n_samples: u32) {
        self.waiting += n_samples;
    }

    /// A second begins: samples end, workers are ready, samples begin.
    pub fn step(&mut self, second: u32) {
        while self.running.front().is_some_and(|(end, _)| *end <= second) {
            self.n_running -= self.running.pop_front().map_or(0, |(_, n)| n);
            self.has_ended = true;
        }
        while self.starting.front().is_some_and(|ready_at| *ready_at <= second) {
            self.starting.pop_front();
            self.ready += 1;
        }
        // Samples of workers that drain run on beyond the places of those that are left.
        let places = (self.ready * self.settings.capacity).saturating_sub(self.n_running);
        let begun = places.min(self.waiting);
        if begun > 0 {
            self.waiting -= begun;
            self.n_running += begun;
            self.running.push_back((second + self.settings.sample_seconds, begun));
        }
    }

    /// So many workers shall be there: those who have just been started are given up first.
    pub fn scale(&mut self, second: u32, wanted: u32) {
        while self.n_workers() < wanted {
            self.starting.push_back(second + self.settings.start_seconds);
        }
        while self.n_workers() > wanted {
            if self.starting.pop_back().is_none() {
                self.ready -= 1;
            }
        }
    }

    /// What a coordinator would tell of it.
    pub fn demand(&self) -> Demand {
        let a_sample = if self.has_ended { self.settings.sample_seconds } else { 0 };
        // Those that drain are none of its places.
        let at_hand = (ADMITTED_PER_PLACE * self.ready * self.settings.capacity)
            .saturating_sub(self.n_running)
            .min(self.waiting);
        let queued_samples = self.waiting - at_hand;
        Demand {
            admitted_samples: self.n_running + at_hand,
            queued_samples,
            queued_work_seconds: queued_samples * a_sample,
        }
    }

    /// Samples that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Workers that take samples.
    pub fn ready(&self) -> u32 {
        self.ready
    }

    fn n_workers(&self) -> u32 {
        self.ready + u32::try_from(self.starting.len()).unwrap_or(u32::MAX)
    }
}
