//! Lossless: no outcome of the samples left can change the pick.
//!
//! A response with sum s and weight w so far gets at most f more votes, of weight at most 1: its final reward is
//! between (s + min f) / (w + f) and (s + max f) / (w + f). The pick is safe if its lower bound is above every rival's
//! upper bound. If all responses are shown together, this means that the lead in the sum exceeds (max - min) x votes
//! left.
//!
//! If only the best k_meta vote, then r of the remaining votes may turn out to be among them, for every possible r, and
//! displace the lowest of those seen. The pick must be safe for each r.

use super::Stopping;
use crate::domain::{Sample, SampleSpec};
use crate::vote::{Rule, Tally, Vote, highest, rewards, unit, votes};

/// Share of the scale by which bounds must differ: far above all rounding.
const MARGIN: f64 = 1e-9;

pub(super) fn fires(stopping: &Stopping, prefix: &[Sample]) -> bool {
    let rule = stopping.rule.in_force(prefix);
    let duplicate_of = &stopping.plan.duplicate_of;
    let seen = votes(duplicate_of, prefix, rule);
    let Some(pick) = highest(rewards(duplicate_of, &seen, unit(rule)).into_iter()) else {
        return false;
    };
    // A single response has no pick.
    if stopping.shown().nth(1).is_none() {
        return false;
    }
    let left = Left::after(stopping, prefix);
    let is_kept = |votes: &[Vote<'_>], most: usize, heaviest: f64| {
        is_kept(stopping, unit(rule), votes, pick, |response| {
            left.showing(response).min(most) as f64 * heaviest
        })
    };
    match rule {
        Rule::Mean | Rule::Majority => is_kept(&seen, left.most, 1.0),
        // Weights are relative to the heaviest one so far; no probability is above 1.
        Rule::Weighted(_) => is_kept(&seen, left.most, 1.0 / heaviest(prefix, rule)),
        Rule::Top { k_meta } => {
            let most_new = u32::try_from(left.most).unwrap_or(u32::MAX).min(k_meta);
            // The hardest case first.
            (0..=most_new).rev().all(|n_new| {
                let stay = votes(duplicate_of, prefix, Rule::Top { k_meta: k_meta - n_new });
                is_kept(&stay, n_new as usize, 1.0)
            })
        }
    }
}

/// Votes that may still arrive.
struct Left {
    most: usize,
    /// For each response.
    showing: Vec<usize>,
}

// === impl Left ===

impl Left {
    /// Each remaining planned sample contributes at most one vote, its own or that of a spare sample; so does each
    /// sample without scores.
    fn after(stopping: &Stopping, prefix: &[Sample]) -> Self {
        let plan = &stopping.plan;
        let rest = &plan.samples[prefix.len()..];
        let n_failed = prefix.iter().filter(|sample| sample.scores().is_none()).count();
        let most = rest.len() + n_failed.min(plan.spares.len());
        let mut showing = vec![0; plan.duplicate_of.len()];
        let shown = |spec: &SampleSpec| spec.order.clone();
        rest.iter().chain(&plan.spares).flat_map(shown).for_each(|response| showing[response] += 1);
        Self { most, showing }
    }

    fn showing(&self, response: usize) -> usize {
        self.showing[response].min(self.most)
    }
}

// === private ===

/// True if `pick` stays ahead of every rival when up to `more(response)` of weight is still to come.
fn is_kept(
    stopping: &Stopping,
    unit: f64,
    votes: &[Vote<'_>],
    pick: usize,
    more: impl Fn(usize) -> f64,
) -> bool {
    let mut tally = Tally::new(stopping.plan.duplicate_of.len(), unit);
    votes.iter().for_each(|vote| tally.add(vote));
    let end = |response: usize, value: f64| {
        let ((sum, weight), more) = (tally.of(response), more(response));
        (sum + value * more) / (weight + more)
    };
    let (min, max) = stopping.values;
    let lowest = end(pick, min);
    let is_behind = |rival: usize| {
        let has_reward = tally.of(rival).1 > 0.0 || more(rival) > 0.0;
        !has_reward || lowest - end(rival, max) > MARGIN * (max - min)
    };
    tally.of(pick).1 > 0.0 && stopping.shown().all(|rival| rival == pick || is_behind(rival))
}

/// The highest probability among the valid samples.
fn heaviest(prefix: &[Sample], rule: Rule) -> f64 {
    let Rule::Weighted(calibration) = rule else { return 1.0 };
    let valid = prefix.iter().filter(|sample| sample.scores().is_some());
    let probabilities =
        valid.filter_map(|s| s.meta_score).map(|meta| calibration.probability(meta));
    probabilities.fold(0.0, f64::max)
}
