//! Which samples vote, what a vote says, and how much it weighs: everything in which vote rules differ.

use std::borrow::Cow;

use super::Rule;
use super::rule::meta_score;
use crate::domain::Sample;

/// A whole vote under [`Rule::Majority`]. It can be split equally among up to 16 responses without rounding, so that
/// sums do not depend on their order and equal shares stay equal.
const WHOLE_VOTE: f64 = 720_720.0;

/// One sample's vote: a value for each response that it showed.
#[derive(Debug, Clone)]
pub(crate) struct Vote<'a> {
    pub(crate) index: u32,
    pub(super) seed: u64,
    pub(crate) order: &'a [usize],
    /// Parallel to `order`, in units of [`unit`].
    pub(crate) values: Cow<'a, [f64]>,
    /// Above 0. Equal to 1 except under [`Rule::Weighted`], where the heaviest vote has 1.
    pub(crate) weight: f64,
}

/// Weighted sums of the values of each response, and the weight of the votes that showed it.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    sums: Vec<(f64, f64)>,
    unit: f64,
}

/// The votes in index order. `rule` must be in force. Under [`Rule::Majority`] a response alone in its panel has no
/// vote: nothing was preferred to anything.
pub(crate) fn votes<'a>(
    duplicate_of: &[usize],
    samples: &'a [Sample],
    rule: Rule,
) -> Vec<Vote<'a>> {
    let n_copies = copies_of_one(duplicate_of);
    let mut votes: Vec<(Vote<'_>, f64)> = samples
        .iter()
        .filter_map(|sample| {
            let scores = &sample.scores()?.scores;
            let values = match rule {
                Rule::Majority if scores.len() > 1 => Cow::Owned(shares(scores)),
                Rule::Majority => Cow::Owned(vec![WHOLE_VOTE / n_copies? as f64]),
                Rule::Mean | Rule::Top { .. } | Rule::Weighted(_) => Cow::Borrowed(&scores[..]),
            };
            let spec = &sample.spec;
            let (index, seed, order) = (spec.index, spec.seed, &spec.order[..]);
            let vote = Vote { index, seed, order, values, weight: 1.0 };
            Some((vote, meta_score(sample).unwrap_or(0.0)))
        })
        .collect();
    match rule {
        Rule::Mean | Rule::Majority => {}
        Rule::Top { k_meta } => {
            votes.sort_by(|(a, a_meta), (b, b_meta)| {
                b_meta.total_cmp(a_meta).then(a.index.cmp(&b.index))
            });
            votes.truncate(k_meta as usize);
        }
        Rule::Weighted(calibration) => {
            let ln = |meta: f64| calibration.ln_probability(meta);
            let heaviest =
                votes.iter().map(|(_, meta)| ln(*meta)).fold(f64::NEG_INFINITY, f64::max);
            votes.iter_mut().for_each(|(vote, meta)| vote.weight = libm::exp(ln(*meta) - heaviest));
        }
    }
    votes.sort_by_key(|(vote, _)| vote.index);
    votes.into_iter().map(|(vote, _)| vote).collect()
}

/// What a value of 1 is worth in the units of the reward.
pub(crate) fn unit(rule: Rule) -> f64 {
    if rule == Rule::Majority { WHOLE_VOTE } else { 1.0 }
}

// === impl Vote ===

impl Vote<'_> {
    /// Positions of the responses that it scored highest; several if they are equal.
    pub(super) fn best(&self) -> impl Iterator<Item = usize> + '_ {
        let highest = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (0..self.values.len()).filter(move |&position| self.values[position] == highest)
    }
}

// === impl Tally ===

impl Tally {
    pub(crate) fn new(n_responses: usize, unit: f64) -> Self {
        Self { sums: vec![(0.0, 0.0); n_responses], unit }
    }

    pub(super) fn clear(&mut self) {
        self.sums.fill((0.0, 0.0));
    }

    pub(crate) fn add(&mut self, vote: &Vote<'_>) {
        for (&response, &value) in vote.order.iter().zip(&*vote.values) {
            if let Some((sum, weight)) = self.sums.get_mut(response) {
                *sum += vote.weight * value;
                *weight += vote.weight;
            }
        }
    }

    /// Sum, in the units of the reward, and weight of one distinct response.
    pub(crate) fn of(&self, response: usize) -> (f64, f64) {
        let (sum, weight) = self.sums[response];
        (sum / self.unit, weight)
    }

    /// Mean values; a duplicate has that of its distinct response. None if that was not shown.
    pub(crate) fn means<'a>(
        &'a self,
        duplicate_of: &'a [usize],
    ) -> impl Iterator<Item = Option<f64>> + 'a {
        duplicate_of.iter().map(|&distinct| {
            let (sum, weight) = self.sums[distinct];
            (weight > 0.0).then(|| sum / (weight * self.unit))
        })
    }
}

// === private ===

/// The number of responses, if they are all the same text: each sample shows it alone, and prefers none of its copies.
fn copies_of_one(duplicate_of: &[usize]) -> Option<usize> {
    duplicate_of.iter().all(|&distinct| distinct == 0).then_some(duplicate_of.len())
}

/// One vote, split among the highest scores.
fn shares(scores: &[f64]) -> Vec<f64> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let n_best = scores.iter().filter(|&&score| score == highest).count();
    let share = |&score: &f64| if score == highest { WHOLE_VOTE / n_best as f64 } else { 0.0 };
    scores.iter().map(share).collect()
}
