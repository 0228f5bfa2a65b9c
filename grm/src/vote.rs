//! The vote: samples to rewards, pick, agreement and confidence (paper, section 4: voting with
//! generated rewards). `docs/voting.md` has the formula of each rule.
//!
//! ```text
//! rule     which rule, with its numbers          votes      who votes, with what, how heavily
//! vote     votes -> rewards, pick, agreement     bootstrap  how sure the pick is
//! ```
//!
//! The paper sums scores. A reward here is their mean: it differs by the factor k, and does not grow with k. Sums run
//! in index order, so the same samples give the same bits whatever order they arrived in. Means of scores below 2^10
//! over at most 2^8 samples are exact enough that equal sums over equally many samples are equal rewards.

mod bootstrap;
mod exemplar;
mod rule;
mod votes;

use crate::domain::Sample;

pub use exemplar::exemplar;
pub use rule::{Calibration, Rule, is_unranked};
pub(crate) use votes::{Tally, Vote, unit, votes};

/// The result of a vote.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    /// The rule that was applied: [`Rule::Mean`] instead of a rule that needs meta scores if a valid sample has none.
    pub rule: Rule,
    /// For each response, the weighted mean over the voting samples that showed it: of its scores, or under
    /// [`Rule::Majority`] of its shares, 0..=1. `None` if no voting sample showed it; under majority, if none showed it
    /// beside another.
    pub rewards: Vec<Option<f64>>,
    /// Lowest index with the highest reward; `None` for a single response.
    pub pick: Option<usize>,
    /// All indices with the highest reward, if there are several.
    pub tied: Vec<usize>,
    /// Weighted mean share of the voting samples that prefer the pick, among those that showed it beside others; ties
    /// are split, identical responses included. 0..=1; `None` if no sample compared it.
    pub agreement: Option<f64>,
    /// Share of bootstrap resamples of the voting samples with the same pick; ties are split. 0..=1. `None` also when
    /// fewer than two voting samples showed the pick: resamples of a single sample are all the same.
    pub confidence: Option<f64>,
    /// Indices of the samples that voted, ascending.
    pub voters: Vec<u32>,
    /// Parallel to `voters`: the weight of each; weights add up to 1. Empty when all weigh the same.
    pub weights: Vec<f64>,
}

/// Votes by `rule`, or by the rule that replaces it if it cannot be applied.
///
/// `duplicate_of[i]` is the lowest index of a response identical to response i; identical responses share one reward.
/// Samples may come in any order; failed ones do not vote.
pub fn vote(duplicate_of: &[usize], samples: &[Sample], rule: Rule) -> Ballot {
    let rule = rule.in_force(samples);
    let (votes, unit) = (votes(duplicate_of, samples, rule), unit(rule));
    let rewards = rewards(duplicate_of, &votes, unit);
    let mut ballot = Ballot {
        voters: votes.iter().map(|vote| vote.index).collect(),
        weights: weights(&votes, rule),
        ..Ballot::none(duplicate_of.len(), rule)
    };
    if duplicate_of.len() > 1
        && let Some(pick) = highest(rewards.iter().copied())
    {
        let is_best = |response: &usize| rewards[*response] == rewards[pick];
        let best: Vec<usize> = (0..duplicate_of.len()).filter(is_best).collect();
        ballot.pick = Some(pick);
        ballot.tied = if best.len() > 1 { best } else { Vec::new() };
        ballot.agreement = agreement(duplicate_of, pick, &votes);
        let n_showed = votes.iter().filter(|vote| vote.order.contains(&duplicate_of[pick])).count();
        ballot.confidence =
            (n_showed > 1).then(|| bootstrap::confidence(duplicate_of, &votes, unit, pick));
    }
    ballot.rewards = rewards;
    ballot
}

/// Only the rewards of a vote, for callers that vote on many subsets of the same samples.
pub fn rewards_of(duplicate_of: &[usize], samples: &[Sample], rule: Rule) -> Vec<Option<f64>> {
    let rule = rule.in_force(samples);
    rewards(duplicate_of, &votes(duplicate_of, samples, rule), unit(rule))
}

// === impl Ballot ===

impl Ballot {
    /// A ballot without rewards for `n_responses`.
    pub fn none(n_responses: usize, rule: Rule) -> Self {
        Self {
            rule,
            rewards: vec![None; n_responses],
            pick: None,
            tied: Vec::new(),
            agreement: None,
            confidence: None,
            voters: Vec::new(),
            weights: Vec::new(),
        }
    }
}

// === private ===

pub(crate) fn rewards(duplicate_of: &[usize], votes: &[Vote<'_>], unit: f64) -> Vec<Option<f64>> {
    let mut tally = Tally::new(duplicate_of.len(), unit);
    votes.iter().for_each(|vote| tally.add(vote));
    tally.means(duplicate_of).collect()
}

fn weights(votes: &[Vote<'_>], rule: Rule) -> Vec<f64> {
    if !matches!(rule, Rule::Weighted(_)) {
        return Vec::new();
    }
    let total: f64 = votes.iter().map(|vote| vote.weight).sum();
    votes.iter().map(|vote| vote.weight / total).collect()
}

/// Index of the highest reward; among equals, the lowest index.
pub(crate) fn highest(rewards: impl Iterator<Item = Option<f64>>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (response, reward) in rewards.enumerate() {
        if let Some(reward) = reward
            && best.is_none_or(|(_, highest)| reward > highest)
        {
            best = Some((response, reward));
        }
    }
    best.map(|(response, _)| response)
}

/// The share of the pick among all responses with the highest reward: only their order in the request distinguishes
/// them. Identical responses always share.
fn share_of_pick(rewards: impl Iterator<Item = Option<f64>>, pick: usize) -> f64 {
    let (mut highest, mut n_highest, mut has_pick) = (f64::NEG_INFINITY, 0_u32, false);
    for (response, reward) in rewards.enumerate() {
        let Some(reward) = reward.filter(|reward| *reward >= highest) else { continue };
        if reward > highest {
            (highest, n_highest, has_pick) = (reward, 0, false);
        }
        n_highest += 1;
        has_pick |= response == pick;
    }
    if has_pick { 1.0 / f64::from(n_highest) } else { 0.0 }
}

fn agreement(duplicate_of: &[usize], pick: usize, votes: &[Vote<'_>]) -> Option<f64> {
    let distinct = duplicate_of[pick];
    let (mut sum, mut weight) = (0.0, 0.0);
    // A sample that showed nothing else has no preference.
    let n_shown =
        |vote: &Vote<'_>| duplicate_of.iter().filter(|&it| vote.order.contains(it)).count();
    let compares = |vote: &&Vote<'_>| vote.order.contains(&distinct) && n_shown(vote) > 1;
    for vote in votes.iter().filter(compares) {
        let best: Vec<usize> = vote.best().map(|position| vote.order[position]).collect();
        // Identical responses are shown once and tie.
        let n_best = duplicate_of.iter().filter(|distinct| best.contains(distinct)).count();
        let share = if best.contains(&distinct) { 1.0 / n_best as f64 } else { 0.0 };
        sum += vote.weight * share;
        weight += vote.weight;
    }
    (weight > 0.0).then(|| sum / weight)
}

#[cfg(test)]
mod tests;
