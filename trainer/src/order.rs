//! The order of the training data: every element once per pass, reshuffled for each pass.

use std::ops::Range;

use jury_grm::random::SplitMix64;

/// The elements of `n` at `places` of the endless list of passes. `purpose` separates this list from others with the
/// same seed.
pub(crate) fn at(places: Range<usize>, n: usize, seed: u64, purpose: &str) -> Vec<usize> {
    let mut shuffled: Option<(usize, Vec<usize>)> = None;
    let thing = |place: usize| {
        let pass = place / n;
        if shuffled.as_ref().is_none_or(|(of, _)| *of != pass) {
            let mut order: Vec<usize> = (0..n).collect();
            let seed = seed.wrapping_add(pass as u64);
            SplitMix64::for_purpose(seed, purpose).shuffle(&mut order);
            shuffled = Some((pass, order));
        }
        shuffled.as_ref().map_or(0, |(_, order)| order[place % n])
    };
    places.map(thing).collect()
}
