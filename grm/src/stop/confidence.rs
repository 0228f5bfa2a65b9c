//! Confidence: the pick of all k samples is known with a given probability.
//!
//! For the leader and each rival, the hypothesis concerns the samples of this very plan: the sum over all k of the
//! differences d between their scores is at most 0. It is tested by betting against it (Waudby-Smith and Ramdas, 2024:
//! Estimating means of bounded random variables by betting, section 5, sampling without replacement). If it were true,
//! the samples left would have a mean difference of at most m = -(sum so far) / (samples left). A block of orders
//! multiplies the capital by the product over its samples of 1 + g r (d - m) / (m + range). Here g is a wager that
//! never loses more than everything, and r is the number of samples left at that position of the blocks, divided by the
//! highest such number over all positions. Samples of one position are exchangeable, and independent of those of other
//! positions; by the inequality of arithmetic and geometric means, the expected product is at most 1, however positions
//! differ. So the capital is a nonnegative supermartingale, and by Ville's inequality it ever reaches 1 / alpha with
//! probability at most alpha.
//!
//! A wrong stop means that the true pick was rejected as a rival of the leader. Each of the n - 1 rivals that could be
//! the true pick therefore gets alpha = (1 - level) / (n - 1).

use super::Stopping;
use crate::domain::Sample;
use crate::vote::{Vote, highest, rewards, unit, votes};

/// Wagers whose capitals are averaged: small ones for narrow leads, large ones for clear leads.
const WAGERS: [f64; 4] = [0.25, 0.5, 0.75, 1.0];
/// Share of the range below which there is nothing to bet on; well above all rounding.
const MARGIN: f64 = 1e-9;

pub(super) fn fires(stopping: &Stopping, prefix: &[Sample], level: f64) -> bool {
    let plan = &stopping.plan;
    let rule = stopping.rule.in_force(prefix);
    let n_shown = stopping.shown().count();
    // Each round of panels is a new deal: no two responses are compared in every sample.
    let shows_all = plan.samples.iter().all(|spec| spec.order.len() == n_shown);
    if n_shown < 2 || !shows_all {
        return false;
    }
    let seen = votes(&plan.duplicate_of, prefix, rule);
    let Some(pick) = highest(rewards(&plan.duplicate_of, &seen, unit(rule)).into_iter()) else {
        return false;
    };
    let threshold = (n_shown - 1) as f64 / (1.0 - level);
    let test = |rival: usize| {
        let differences = differences(stopping, prefix, &seen, unit(rule), pick, rival);
        is_rejected(stopping, &differences, threshold)
    };
    stopping.shown().filter(|&response| response != pick).all(test)
}

/// The pick's lead over the rival in each sample, within plus and minus the range. A sample without scores counts as 0,
/// or, if a spare sample may replace it, as the worst value that the spare may give.
fn differences(
    stopping: &Stopping,
    prefix: &[Sample],
    seen: &[Vote<'_>],
    unit: f64,
    pick: usize,
    rival: usize,
) -> Vec<f64> {
    let without = if stopping.plan.spares.is_empty() { 0.0 } else { -stopping.range() };
    let mut differences = vec![without; prefix.len()];
    for vote in seen {
        let of = |response: usize| {
            let position = vote.order.iter().position(|&shown| shown == response)?;
            Some(vote.values[position] / unit)
        };
        if let (Some(pick), Some(rival)) = (of(pick), of(rival)) {
            differences[vote.index as usize] = pick - rival;
        }
    }
    differences
}

/// True when the capital from betting against "the pick does not lead in the sum over all k" ever reached `threshold`,
/// or when no outcome of the remaining samples is consistent with that hypothesis.
fn is_rejected(stopping: &Stopping, differences: &[f64], threshold: f64) -> bool {
    let (range, block) = (stopping.range(), stopping.plan.block as usize);
    let k = stopping.plan.samples.len();
    let (mut sum, mut capitals) = (0.0, WAGERS.map(|_| 1.0));
    for (n_before, block_differences) in (0..).step_by(block).zip(differences.chunks(block)) {
        let left = k - n_before;
        let mean = -sum / left as f64;
        let at_stake = mean + range;
        // If k cuts the last block short, the positions in it have one more sample to come than the others.
        let of_place = |place: usize| (left - place).div_ceil(block) as f64;
        if at_stake > MARGIN * range {
            for (capital, wager) in capitals.iter_mut().zip(WAGERS) {
                let grow = |(place, difference): (usize, &f64)| {
                    let stake = wager * of_place(place) / of_place(0);
                    1.0 + stake * (difference - mean) / at_stake
                };
                let growth: f64 = block_differences.iter().enumerate().map(grow).product();
                *capital = (*capital * growth).clamp(0.0, f64::MAX);
            }
        }
        sum += block_differences.iter().sum::<f64>();
        let left = (left - block_differences.len()) as f64;
        let is_certain = sum > range * left + MARGIN * range;
        let capital = capitals.iter().sum::<f64>() / WAGERS.len() as f64;
        if is_certain || capital >= threshold {
            return true;
        }
    }
    false
}
