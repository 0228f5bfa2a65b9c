//! How sure the pick is: resample the voting samples with replacement and vote again.

use super::share_of_pick;
use super::votes::{Tally, Vote};
use crate::random::SplitMix64;

/// Enough that the standard error of the probability stays below 0.016.
const RESAMPLES: u32 = 1000;

/// Share of resamples whose pick is `picked`, 0..=1; a tie counts by the share of `picked` in it. Seeded by the samples' own seeds: the same
/// samples give the same value. A resampled vote keeps its weight.
///
/// Sums run in the order drawn, which is part of the result: rounding follows it.
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
