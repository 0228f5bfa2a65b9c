//! Workers that start slowly, draw samples of one length, and drain before they leave.

use std::collections::VecDeque;

use super::control::Demand;

/// Properties shared by all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetSettings {
    /// Samples that a worker draws at once.
    pub capacity: u32,
    /// Seconds per sample.
    pub sample_seconds: u32,
    /// Seconds from the request for a worker to its first sample.
    pub start_seconds: u32,
}

/// A coordinator admits this many samples per slot, so that a worker always has its next group ready.
const ADMITTED_PER_PLACE: u32 = 2;

/// The fleet in one second.
#[derive(Debug)]
pub struct Fleet {
    settings: FleetSettings,
    waiting: u32,
    /// (second of its end, samples) of running samples, in order.
    running: VecDeque<(u32, u32)>,
    n_running: u32,
    /// Whether a sample has ended, so that the length of a sample is known.
    has_ended: bool,
    /// Seconds at which starting workers will be ready, in order.
    starting: VecDeque<u32>,
    ready: u32,
}

// === impl Fleet ===

impl Fleet {
    /// Starts with no workers and no demand.
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

    /// Requests more samples.
    pub fn ask(&mut self, n_samples: u32) {
        self.waiting += n_samples;
    }

    /// Begins a second: samples end, workers become ready, samples begin.
    pub fn step(&mut self, second: u32) {
        while self.running.front().is_some_and(|(end, _)| *end <= second) {
            self.n_running -= self.running.pop_front().map_or(0, |(_, n)| n);
            self.has_ended = true;
        }
        while self.starting.front().is_some_and(|ready_at| *ready_at <= second) {
            self.starting.pop_front();
            self.ready += 1;
        }
        // Samples of draining workers keep running in addition to the slots of the remaining workers.
        let places = (self.ready * self.settings.capacity).saturating_sub(self.n_running);
        let begun = places.min(self.waiting);
        if begun > 0 {
            self.waiting -= begun;
            self.n_running += begun;
            self.running.push_back((second + self.settings.sample_seconds, begun));
        }
    }

    /// Sets the wanted number of workers. The most recently started ones are given up first.
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

    /// What a coordinator would report about the fleet.
    pub fn demand(&self) -> Demand {
        let a_sample = if self.has_ended { self.settings.sample_seconds } else { 0 };
        // Draining workers do not count as slots.
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

    /// Waiting samples.
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Workers that accept samples.
    pub fn ready(&self) -> u32 {
        self.ready
    }

    fn n_workers(&self) -> u32 {
        self.ready + u32::try_from(self.starting.len()).unwrap_or(u32::MAX)
    }
}
