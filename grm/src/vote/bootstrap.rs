//! How certain the pick is: resamples the voting samples with replacement and votes again.

use super::share_of_pick;
use super::votes::{Tally, Vote};
use crate::random::SplitMix64;

/// Enough to keep the standard error of the probability below 0.016.
const RESAMPLES: u32 = 1000;

/// Share of resamples whose pick is `picked`, 0..=1; in a tie, the share of `picked` in it counts. Seeded by the
/// samples' own seeds, so the same samples give the same value. A resampled vote keeps its weight.
///
/// Sums run in the order drawn. That order is part of the result, since rounding depends on it.
pub(super) fn confidence(
    duplicate_of: &[usize],
    votes: &[Vote<'_>],
    unit: f64,
    picked: usize,
) -> f64 {
    let seed = votes.iter().fold(0, |seed, vote| seed ^ vote.seed.rotate_left(vote.index % 64));
    let mut random = SplitMix64::new(seed);
    // One tally for all resamples: this loop is most of the cost of a verdict.
    let mut tally = Tally::new(duplicate_of.len(), unit);
    let mut same = 0.0;
    for _ in 0..RESAMPLES {
        tally.clear();
        for _ in votes {
            tally.add(&votes[random.below(votes.len())]);
        }
        same += share_of_pick(tally.means(duplicate_of), picked);
    }
    same / f64::from(RESAMPLES)
}
