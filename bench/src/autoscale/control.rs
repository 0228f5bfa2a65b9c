//! KEDA and the HorizontalPodAutoscaler as a state machine, configured as in the chart: pure.
//!
//! ```text
//! KEDA   0 <-> 1     up as soon as anything is requested; down when nothing was for the cooldown
//! HPA    1 <-> most  ceil(demand / samples per worker), unless within a tenth of the current number; the larger of
//!                    both wishes: samples now, and slots so that nobody waits longer than the backlog
//!                    up: at once, at most twice as many (or 4 more) per minute
//!                    down: the highest wish of the window, at most a tenth (or 1) fewer per minute
//! ```
//!
//! The measured values come from Prometheus, so they lag behind the present.

use std::collections::VecDeque;

/// Settings of the loop; by default those of the chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Minimum number of workers.
    pub least: u32,
    /// Maximum number of workers.
    pub most: u32,
    /// Samples per worker that the loop aims for.
    pub samples_per_worker: u32,
    /// Maximum seconds that a request should wait.
    pub backlog_seconds: u32,
    /// Seconds between evaluations.
    pub polling_seconds: u32,
    /// Age of the measured values, in seconds.
    pub metric_age_seconds: u32,
    /// Workers leave after fewer were wanted for this many seconds.
    pub scale_in_seconds: u32,
    /// The last worker leaves after nothing was requested for this many seconds.
    pub cooldown_seconds: u32,
}

/// What coordinators report about one model at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Running samples: `jury_admitted_samples`.
    pub admitted_samples: u32,
    /// Waiting samples: `jury_queued_samples`.
    pub queued_samples: u32,
    /// How long one slot would be busy with the waiting samples: `jury_queued_work_seconds`; 0 before the length of a
    /// sample is known.
    pub queued_work_seconds: u32,
}

/// The state of the loop between two evaluations.
#[derive(Debug)]
pub struct Control {
    settings: Settings,
    workers: u32,
    /// Measured values, oldest first.
    measured: VecDeque<Demand>,
    /// (second, wish) within the window.
    wishes: VecDeque<(u32, u32)>,
    /// (second, workers before) for the changes of the last minute.
    before: VecDeque<(u32, u32)>,
    last_active: Option<u32>,
}

/// The HPA changes nothing within this share of its target.
const TOLERANCE: f64 = 0.1;
/// Policies count changes within this many seconds.
const POLICY_SECONDS: u32 = 60;

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            least: 0,
            most: 64,
            samples_per_worker: 24,
            backlog_seconds: 30,
            polling_seconds: 15,
            metric_age_seconds: 15,
            scale_in_seconds: 300,
            cooldown_seconds: 600,
        }
    }
}

// === impl Demand ===

impl Demand {
    /// The value of the trigger `samples`: one slot for each sample now.
    pub fn samples(self) -> u32 {
        self.admitted_samples + self.queued_samples
    }

    /// The value of the trigger `wait`: enough slots that nobody waits longer than `backlog_seconds`.
    fn places(self, backlog_seconds: u32) -> f64 {
        let waiting = f64::from(self.queued_work_seconds) / f64::from(backlog_seconds);
        f64::from(self.admitted_samples) + waiting
    }
}

// === impl Control ===

impl Control {
    /// Starts with the minimum number of workers.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            workers: settings.least,
            measured: VecDeque::new(),
            wishes: VecDeque::new(),
            before: VecDeque::new(),
            last_active: None,
        }
    }

    /// Advances by one second with this `demand`. Returns how many workers there should be.
    pub fn step(&mut self, second: u32, demand: Demand) -> u32 {
        self.measured.push_back(demand);
        if self.measured.len() > self.settings.metric_age_seconds as usize + 1 {
            self.measured.pop_front();
        }
        if second.is_multiple_of(self.settings.polling_seconds) {
            let seen = self.measured.front().copied().unwrap_or_default();
            let workers = self.look(second, seen);
            if workers != self.workers {
                self.before.push_back((second, self.workers));
                self.workers = workers;
            }
        }
        self.workers
    }

    fn look(&mut self, second: u32, demand: Demand) -> u32 {
        let Settings { least, most, cooldown_seconds, .. } = self.settings;
        let is_active = demand.samples() > 0;
        if is_active {
            self.last_active = Some(second);
        }
        if self.workers == 0 {
            return if is_active { least.max(1) } else { 0 };
        }
        let is_asleep = self.last_active.is_none_or(|last| second - last >= cooldown_seconds);
        if least == 0 && !is_active && is_asleep {
            self.wishes.clear();
            return 0;
        }
        let wish = self.wish(demand).clamp(least.max(1), most);
        self.wishes.push_back((second, wish));
        self.wishes.retain(|(at, _)| second - at < self.settings.scale_in_seconds.max(1));
        self.before.retain(|(at, _)| second - at < POLICY_SECONDS);
        if wish > self.workers {
            wish.min(self.most_after_growth())
        } else {
            let highest = self.wishes.iter().map(|(_, wish)| *wish).max().unwrap_or(wish);
            highest.min(self.workers).max(self.fewest_after_shrinking())
        }
    }

    /// The wish from the demand alone: the larger of the two triggers.
    fn wish(&self, demand: Demand) -> u32 {
        let samples = f64::from(demand.samples());
        self.wish_of(samples).max(self.wish_of(demand.places(self.settings.backlog_seconds)))
    }

    fn wish_of(&self, value: f64) -> u32 {
        let target = f64::from(self.settings.samples_per_worker);
        let used = value / (target * f64::from(self.workers));
        if (used - 1.0).abs() <= TOLERANCE { self.workers } else { (value / target).ceil() as u32 }
    }

    fn most_after_growth(&self) -> u32 {
        let begun =
            self.before.iter().map(|(_, n)| *n).min().unwrap_or(self.workers).min(self.workers);
        (begun * 2).max(begun + 4)
    }

    fn fewest_after_shrinking(&self) -> u32 {
        let begun =
            self.before.iter().map(|(_, n)| *n).max().unwrap_or(self.workers).max(self.workers);
        (begun - begun / 10).min(begun.saturating_sub(1))
    }
}
