//! The vote: samples to rewards, pick, agreement and confidence (paper, section 4: voting with
//! generated rewards).
//!
//! The paper sums scores; a reward here is their mean, which differs by the factor k and does not
//! grow with it. Sums run in index order, so the same samples give the same bits whatever order
//! they arrived in. Means of scores below 2^10 over at most 2^8 samples are exact enough that equal
//! sums over equally many samples are equal rewards.

mod bootstrap;

use crate::domain::Sample;

/// What the samples amount to.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    /// Mean score of the voting samples that showed each response; `None` where none did.
    pub rewards: Vec<Option<f64>>,
    /// Index of the highest reward, the lowest index of equals; `None` for a single response.
    pub pick: Option<usize>,
    /// Every index with the highest reward, when there are several.
    pub tied: Vec<usize>,
    /// Mean share of the voting samples that showed the pick whose own best it is; equals split.
    /// 0..=1.
    pub agreement: Option<f64>,
    /// Share of bootstrap resamples of the voting samples with the same pick. 0..=1. `None` too
    /// when fewer than two of them showed the pick: resamples of one sample are all the same.
    pub confidence: Option<f64>,
    /// Samples that voted.
    pub voted: u32,
}

/// Lets every valid sample vote.
///
/// `classes[i]` is the lowest index of a response identical to response i: identical responses
/// share one reward. Samples may come in any order; failed ones do not vote.
pub fn vote(classes: &[usize], samples: &[Sample]) -> Ballot {
    let votes = votes(samples);
    let rewards = rewards(classes, votes.iter());
    let mut ballot = Ballot {
        voted: u32::try_from(votes.len()).expect("k is below the request's limit"),
        ..Ballot::none(classes.len())
    };
    if classes.len() > 1
        && let Some(pick) = pick(&rewards)
    {
        let is_best = |response: &usize| rewards[*response] == rewards[pick];
        let best: Vec<usize> = (0..classes.len()).filter(is_best).collect();
        ballot.pick = Some(pick);
        ballot.tied = if best.len() > 1 { best } else { Vec::new() };
        ballot.agreement = agreement(classes[pick], &votes);
        let n_showed = votes.iter().filter(|vote| vote.order.contains(&classes[pick])).count();
        ballot.confidence = (n_showed > 1).then(|| bootstrap::confidence(classes, &votes, pick));
    }
    ballot.rewards = rewards;
    ballot
}

/// One sample's say: the responses that it showed, with their scores.
#[derive(Debug, Clone)]
struct Vote<'a> {
    index: u32,
    seed: u64,
    order: &'a [usize],
    scores: &'a [f64],
}

// === impl Ballot ===

impl Ballot {
    /// No rewards for `n_responses`.
    pub fn none(n_responses: usize) -> Self {
        Self {
            rewards: vec![None; n_responses],
            pick: None,
            tied: Vec::new(),
            agreement: None,
            confidence: None,
            voted: 0,
        }
    }
}

// === private ===

/// The valid samples in index order.
fn votes(samples: &[Sample]) -> Vec<Vote<'_>> {
    let mut votes: Vec<Vote<'_>> = samples
        .iter()
        .filter_map(|sample| {
            let scores = &sample.scores()?.scores;
            let spec = &sample.spec;
            Some(Vote { index: spec.index, seed: spec.seed, order: &spec.order, scores })
        })
        .collect();
    votes.sort_by_key(|vote| vote.index);
    votes
}

/// Mean scores, each response with the value of its class.
fn rewards<'a>(classes: &[usize], votes: impl Iterator<Item = &'a Vote<'a>>) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0_u32); classes.len()];
    for vote in votes {
        for (&response, &score) in vote.order.iter().zip(vote.scores) {
            if let Some((sum, shown)) = sums.get_mut(response) {
                *sum += score;
                *shown += 1;
            }
        }
    }
    let mean = |&class: &usize| match sums[class] {
        (_, 0) => None,
        (sum, shown) => Some(sum / f64::from(shown)),
    };
    classes.iter().map(mean).collect()
}

/// The highest reward; of equals the lowest index.
fn pick(rewards: &[Option<f64>]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (response, reward) in rewards.iter().enumerate() {
        if let Some(reward) = *reward
            && best.is_none_or(|(_, highest)| reward > highest)
        {
            best = Some((response, reward));
        }
    }
    best.map(|(response, _)| response)
}

fn agreement(class: usize, votes: &[Vote<'_>]) -> Option<f64> {
    let shares: Vec<f64> = votes
        .iter()
        .filter(|vote| vote.order.contains(&class))
        .map(|vote| {
            let highest = vote.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let is_best = |&position: &usize| vote.scores[position] == highest;
            let best: Vec<usize> = (0..vote.scores.len())
                .filter(is_best)
                .map(|position| vote.order[position])
                .collect();
            if best.contains(&class) { 1.0 / best.len() as f64 } else { 0.0 }
        })
        .collect();
    let n_shares = shares.len();
    (n_shares > 0).then(|| shares.into_iter().sum::<f64>() / n_shares as f64)
}

#[cfg(test)]
mod tests;
