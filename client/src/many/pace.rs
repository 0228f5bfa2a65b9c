//! How many items of a stream are in flight at once. Pure.
//!
//! An item's budget runs from the moment it is sent, so an item that is sent too early spends it behind others. The
//! pace therefore begins with one item a worker and follows what the answers tell:
//!
//! ```text
//! ran out of its budget            half of those that shared the fleet with it
//! waited for admission, or came
//!   near its budget                one fewer than shared the fleet with it
//! would come in time even if one
//!   more shared the fleet          one more: with each answer at first, once a round after it was ever lowered
//! ```
//!
//! It never passes what the fleet draws at once, and one more so that no worker waits for its next prompt.

use std::time::Duration;

use jury_proto::MOST_IN_FLIGHT;

use crate::{FleetStatus, InFlight};

/// The share of its budget that an item may take before no more are sent beside it.
const COMFORTABLE: f64 = 0.75;
/// The share of its time that an item may wait for admission before fewer are sent.
const MAY_WAIT: f64 = 0.25;

/// How many items may be in flight.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Not adapted at all when fixed.
    adapts: bool,
    /// What the caller allows.
    most: usize,
    /// What the fleet draws at once; `None` until it is known.
    fleet_most: Option<usize>,
    now: usize,
    /// True once it had to be lowered: from then on it rises slowly.
    was_lowered: bool,
    /// Answers since it last rose.
    answers: usize,
}

/// What an answer tells about the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// From arrival to answer.
    pub total: Duration,
    /// The part of it before admission.
    pub queued: Duration,
    pub budget: Duration,
    /// True when samples are missing because the budget ended.
    pub ran_out: bool,
    /// Items of this stream that shared the fleet, at most, this one included.
    pub beside: usize,
}

// === impl Pace ===

impl Pace {
    pub fn new(in_flight: InFlight) -> Self {
        let (adapts, most) = match in_flight {
            InFlight::Fixed(n) => (false, n.max(1)),
            InFlight::Adaptive { most } => (true, most.max(1)),
        };
        let most = most.min(MOST_IN_FLIGHT);
        let now = if adapts { 1 } else { most };
        Self { adapts, most, fleet_most: None, now, was_lowered: false, answers: 0 }
    }

    pub fn adapts(&self) -> bool {
        self.adapts
    }

    /// Items that may be in flight now, at least 1.
    pub fn limit(&self) -> usize {
        let fleet_most = self.fleet_most.filter(|_| self.adapts).unwrap_or(usize::MAX);
        self.now.min(self.most).min(fleet_most).max(1)
    }

    /// The fleet is told of, as far as it may judge items of `samples` each for `model`.
    pub fn fleet(&mut self, fleet: &FleetStatus, samples: u32, model: Option<&str>) {
        let (n_workers, capacity) = fleet.room(model);
        if n_workers == 0 {
            return;
        }
        if self.fleet_most.is_none() && !self.was_lowered {
            self.now = self.now.max(n_workers);
        }
        self.fleet_most = Some(capacity.div_ceil(samples.max(1) as usize) + 1);
    }

    /// An item was answered.
    pub fn answered(&mut self, took: Took) {
        if !self.adapts {
            return;
        }
        let Took { total, queued, budget, ran_out, beside } = took;
        let beside = beside.max(1);
        let comfortable = budget.mul_f64(COMFORTABLE);
        if ran_out {
            self.lower_to(beside / 2);
        } else if queued > total.mul_f64(MAY_WAIT) || total > comfortable {
            self.lower_to(beside - 1);
        } else if total.mul_f64((self.now + 1) as f64 / beside as f64) <= comfortable {
            self.answers += 1;
            if !self.was_lowered || self.answers >= self.now {
                self.answers = 0;
                // What could not be used is no ground for more.
                self.now = (self.now + 1).min(self.limit() + 1);
            }
        }
    }

    /// An item found the queue full, with this many in flight.
    pub fn refused(&mut self, in_flight: usize) {
        self.lower_to(in_flight.saturating_sub(1));
    }

    fn lower_to(&mut self, n: usize) {
        let n = n.max(1);
        if self.adapts && n < self.now {
            self.now = n;
            self.was_lowered = true;
            self.answers = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::WorkerStatus;

    const BUDGET: Duration = Duration::from_secs(60);

    fn adaptive() -> Pace {
        Pace::new(InFlight::Adaptive { most: 256 })
    }

    fn fleet(capacities: &[u32]) -> FleetStatus {
        let worker = |&capacity: &u32| WorkerStatus {
            capacity,
            state: "ready".to_owned(),
            model: "m".to_owned(),
            roles: vec!["grm".to_owned()],
            ..WorkerStatus::default()
        };
        FleetStatus { workers: capacities.iter().map(worker).collect(), ..FleetStatus::default() }
    }

    fn took(seconds: f64, beside: usize) -> Took {
        let total = Duration::from_secs_f64(seconds);
        Took { total, queued: Duration::ZERO, budget: BUDGET, ran_out: false, beside }
    }

    #[test]
    fn it_begins_with_an_item_a_worker_and_ends_at_what_the_fleet_draws() {
        let mut pace = adaptive();
        assert_eq!(pace.limit(), 1, "nothing is known yet");
        pace.fleet(&fleet(&[32, 32, 32]), 8, None);
        assert_eq!(pace.limit(), 3);
        for _ in 0..100 {
            pace.answered(took(1.0, pace.limit()));
        }
        assert_eq!(pace.limit(), 96 / 8 + 1);
    }

    #[test]
    fn workers_that_are_away_or_serve_another_model_do_not_count() {
        let mut status = fleet(&[32, 32, 32, 32]);
        status.workers[0].state = "suspect".to_owned();
        status.workers[1].model = "other".to_owned();
        status.workers[3].roles = vec!["meta".to_owned()];
        let mut pace = adaptive();
        pace.fleet(&status, 32, Some("m"));
        assert_eq!((pace.limit(), pace.fleet_most), (1, Some(2)));
    }

    #[test]
    fn items_that_take_most_of_their_budget_alone_are_sent_one_by_one() {
        let mut pace = adaptive();
        pace.fleet(&fleet(&[32]), 8, None);
        for _ in 0..20 {
            pace.answered(took(25.0, 1));
        }
        assert_eq!(pace.limit(), 1);
    }

    #[test]
    fn of_items_that_ran_out_together_the_pace_is_halved_once() {
        let mut pace = adaptive();
        pace.now = 8;
        for _ in 0..8 {
            pace.answered(Took { ran_out: true, ..took(60.0, 8) });
        }
        assert_eq!(pace.limit(), 4);
    }

    #[test]
    fn items_that_wait_for_admission_make_room() {
        let mut pace = adaptive();
        pace.now = 8;
        pace.answered(Took { queued: Duration::from_secs(9), ..took(10.0, 8) });
        assert_eq!(pace.limit(), 7);
        pace.refused(7);
        assert_eq!(pace.limit(), 6);
    }

    #[test]
    fn a_fixed_pace_stays() {
        let mut pace = Pace::new(InFlight::Fixed(16));
        pace.fleet(&fleet(&[1]), 8, None);
        pace.answered(Took { ran_out: true, ..took(60.0, 16) });
        assert_eq!(pace.limit(), 16);
    }

    proptest! {
        /// The fleet draws one item after another: with n in flight each takes n times as long.
        #[test]
        fn on_a_fleet_that_serves_items_in_turn_none_runs_out(alone_s in 0.1..59.0_f64, capacity in 1..1024_u32) {
            let mut pace = adaptive();
            pace.fleet(&fleet(&[capacity]), 8, None);
            for _ in 0..200 {
                let beside = pace.limit();
                let seconds = alone_s * beside as f64;
                prop_assert!(seconds <= 60.0, "{} at once", beside);
                pace.answered(took(seconds, beside));
            }
        }
    }
}
