//! Decides when enough samples are drawn: the shortest prefix, in index order, after which a stop rule fires.
//!
//! ```text
//! lossless     no outcome of the samples left changes the pick
//! confidence   the pick of all k is known with a given probability
//! width        every reward is known to within a given interval
//! arrivals     samples as they arrive -> the prefix, whatever the order of arrival
//! ```
//!
//! A rule examines prefixes, never whichever samples have arrived: short critiques arrive first, and stopping on
//! arrival order would favour them. Rules fire only where a block of orders ends, so that positions are balanced.
//! Samples after the prefix never vote. A prefix fires nothing if one of its samples did not complete (lost, cut off):
//! a verdict that stopped early is whole. `docs/voting.md` has the formulas and proofs.

mod arrivals;
mod confidence;
mod lossless;
mod width;

use std::collections::BTreeSet;

use crate::domain::{Sample, Scale, ScoreRequest, StopRule, StoppedBy};
use crate::plan::Plan;
use crate::vote::Rule;

pub use arrivals::{Arrivals, Drawn};

/// Everything that a stop rule depends on, except the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopping {
    stop: StopRule,
    rule: Rule,
    /// Lowest and highest value of a vote.
    values: (f64, f64),
    /// Minimum number of valid samples; `None`: half of the prefix.
    min_samples: Option<u32>,
    plan: Plan,
    /// Responses that samples show, in ascending order.
    shown: Vec<usize>,
}

/// A stop rule that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The verdict is based on the samples with an index below this.
    pub prefix: u32,
    /// Which rule fired.
    pub by: StoppedBy,
}

/// What a stop rule would have done with recorded samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// Samples needed.
    pub prefix: u32,
    /// Samples of the plan that were not needed.
    pub saved: u32,
}

/// Minimum number of valid samples for a verdict based on `n`: the requested number, or half of `n`.
pub fn min_samples(asked: Option<u32>, n: u32) -> u32 {
    asked.unwrap_or(n.div_ceil(2))
}

/// Replays recorded samples, in any order, so that rules can be compared on the same draws. Spare samples are ignored.
pub fn replay(samples: &[Sample], stopping: &Stopping) -> Replay {
    let k = stopping.k();
    let mut arrivals = Arrivals::new(stopping.clone());
    let stop = samples.iter().find_map(|sample| arrivals.push(sample.clone()));
    let prefix = stop.map_or(k, |stop| stop.prefix);
    Replay { prefix, saved: k - prefix }
}

// === impl Stopping ===

impl Stopping {
    /// The stop rule that `request` asks for, over the samples of `plan`, which vote by `rule`.
    pub fn new(request: &ScoreRequest, plan: &Plan, rule: Rule) -> Self {
        let Scale { min, max } = request.settings.scale;
        let values =
            if rule == Rule::Majority { (0.0, 1.0) } else { (f64::from(min), f64::from(max)) };
        let (stop, min_samples) = (request.voting.stop, request.min_samples);
        let orders = plan.samples.iter().map(|spec| &spec.order);
        let shown: BTreeSet<usize> = orders.flatten().copied().collect();
        let shown = shown.into_iter().collect();
        Self { stop, rule, values, min_samples, plan: plan.clone(), shown }
    }

    /// The rule that fires after `prefix`, the first samples of the plan in index order, if it does.
    pub fn fires_after(&self, prefix: &[Sample]) -> Option<StoppedBy> {
        let (n, block) = (prefix.len(), self.plan.block as usize);
        let is_block_end = n > 0 && n.is_multiple_of(block) && n < self.plan.samples.len();
        let is_whole = |sample: &Sample| sample.failure().is_none_or(|f| f.kind.is_parse());
        if self.never_fires() || !is_block_end || !prefix.iter().all(is_whole) {
            return None;
        }
        let n_valid = prefix.iter().filter(|sample| sample.scores().is_some()).count();
        let needed = min_samples(self.min_samples, u32::try_from(n).unwrap_or(u32::MAX));
        if n_valid < needed as usize {
            return None;
        }
        let (fires, by) = match self.stop {
            StopRule::Never => return None,
            StopRule::Lossless => (lossless::fires(self, prefix), StoppedBy::Lossless),
            StopRule::Confidence(level) => {
                (confidence::fires(self, prefix, level), StoppedBy::Confidence)
            }
            StopRule::Width(width) => (width::fires(self, prefix, width), StoppedBy::Width),
        };
        fires.then_some(by)
    }

    fn never_fires(&self) -> bool {
        self.stop == StopRule::Never
    }

    /// Samples planned, without spares.
    pub fn k(&self) -> u32 {
        u32::try_from(self.plan.samples.len()).expect("k is below the request's limit")
    }

    /// Difference between the highest and the lowest value of a vote.
    fn range(&self) -> f64 {
        self.values.1 - self.values.0
    }

    /// Responses that are shown: neither copies of others nor those that fit no prompt.
    fn shown(&self) -> impl Iterator<Item = usize> + '_ {
        self.shown.iter().copied()
    }
}

#[cfg(test)]
mod tests;
