//! How sure the pick is: resample the voting samples with replacement and vote again.

use super::{Vote, pick, rewards};
use crate::random::SplitMix64;

/// Enough that the standard error of the probability stays below 0.016.
const RESAMPLES: u32 = 1000;

/// Share of resamples whose pick is `picked`, 0..=1. Seeded by the samples' own seeds: the same
/// samples give the same value.
pub(super) fn confidence(classes: &[usize], votes: &[Vote<'_>], picked: usize) -> f64 {
    let seed = votes.iter().fold(0, |seed, vote| seed ^ vote.seed.rotate_left(vote.index % 64));
    let mut random = SplitMix64::new(seed);
    let mut same = 0_u32;
    for _ in 0..RESAMPLES {
        let drawn: Vec<&Vote<'_>> =
            votes.iter().map(|_| &votes[random.below(votes.len())]).collect();
        if pick(&rewards(classes, drawn.into_iter())) == Some(picked) {
            same += 1;
        }
    }
    f64::from(same) / f64::from(RESAMPLES)
}
