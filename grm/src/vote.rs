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
    /// Share of bootstrap resamples of the voting samples with the same pick; equals split. 0..=1. `None` too
    /// when fewer than two of them showed the pick: resamples of one sample are all the same.
    pub confidence: Option<f64>,
    /// Indices of the samples that voted, ascending.
    pub voters: Vec<u32>,
}

/// Lets every valid sample vote.
///
/// `duplicate_of[i]` is the lowest index of a response identical to response i: identical responses
/// share one reward. Samples may come in any order; failed ones do not vote.
pub fn vote(duplicate_of: &[usize], samples: &[Sample]) -> Ballot {
    let votes = votes(samples);
    let rewards = rewards(duplicate_of, &votes);
    let mut ballot = Ballot {
        voters: votes.iter().map(|vote| vote.index).collect(),
        ..Ballot::none(duplicate_of.len())
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
            (n_showed > 1).then(|| bootstrap::confidence(duplicate_of, &votes, pick));
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

/// Sums of scores by response, and how often each was shown.
#[derive(Debug, Clone)]
struct Tally(Vec<(f64, u32)>);

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
            voters: Vec::new(),
        }
    }
}

// === impl Tally ===

impl Tally {
    fn new(n_responses: usize) -> Self {
        Self(vec![(0.0, 0); n_responses])
    }

    fn clear(&mut self) {
        self.0.fill((0.0, 0));
    }

    fn add(&mut self, vote: &Vote<'_>) {
        for (&response, &score) in vote.order.iter().zip(vote.scores) {
            if let Some((sum, shown)) = self.0.get_mut(response) {
                *sum += score;
                *shown += 1;
            }
        }
    }

    /// Mean scores, a duplicate with the value of its distinct response; none where that was not shown.
    fn means<'a>(&'a self, duplicate_of: &'a [usize]) -> impl Iterator<Item = Option<f64>> + 'a {
        duplicate_of.iter().map(|&distinct| {
            let (sum, shown) = self.0[distinct];
            (shown > 0).then(|| sum / f64::from(shown))
        })
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

fn rewards(duplicate_of: &[usize], votes: &[Vote<'_>]) -> Vec<Option<f64>> {
    let mut tally = Tally::new(duplicate_of.len());
    votes.iter().for_each(|vote| tally.add(vote));
    tally.means(duplicate_of).collect()
}

/// Index of the highest reward; of equals the lowest index.
fn highest(rewards: impl Iterator<Item = Option<f64>>) -> Option<usize> {
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

/// The pick's part of a pick that all responses with the highest reward share: nothing but their order
/// in the request sets them apart. Identical responses always share.
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
    let shares: Vec<f64> = votes
        .iter()
        .filter(|vote| vote.order.contains(&distinct))
        .map(|vote| {
            let highest = vote.scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let is_best = |&position: &usize| vote.scores[position] == highest;
            let best: Vec<usize> = (0..vote.scores.len())
                .filter(is_best)
                .map(|position| vote.order[position])
                .collect();
            // Identical responses are shown once and tie.
            let n_best = duplicate_of.iter().filter(|distinct| best.contains(distinct)).count();
            if best.contains(&distinct) { 1.0 / n_best as f64 } else { 0.0 }
        })
        .collect();
    let n_shares = shares.len();
    (n_shares > 0).then(|| shares.into_iter().sum::<f64>() / n_shares as f64)
}

#[cfg(test)]
mod tests;
