//! In which order things are learned from: all of them once a pass, each pass shuffled anew.

use std::ops::Range;

use jury_grm::random::SplitMix64;

/// Which of `n` things stand at `places` of the endless list of passes. `purpose` keeps this list apart from others of the
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
