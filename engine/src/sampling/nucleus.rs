//! The nucleus (top-p): the fewest of the most probable tokens whose total weight reaches a share of all weight.
//!
//! Tokens that cannot belong to it are first dropped by a bound, and only the heaviest of the rest are sorted, a few at
//! a time.

use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::rows::{SEARCH_BLOCK, blocks_with};

/// The tokens of the nucleus, in ascending order.
pub(super) fn nucleus(level: SimdLevel, weights: &[f32], top_p: f64, total: f64) -> Vec<usize> {
    // All tokens below this bound together weigh less than the share that the nucleus leaves out.
    let bound = ((1.0 - top_p) * total / weights.len() as f64) as f32;
    let mut blocks = Vec::new();
    blocks_with(level, weights, bound, &mut blocks);
    let tokens = blocks.into_iter().flat_map(|block| {
        let first = block * SEARCH_BLOCK;
        first..weights.len().min(first + SEARCH_BLOCK)
    });
    let mut candidates: Vec<Candidate> = tokens
        .filter(|&token| weights[token] >= bound)
        .map(|token| Candidate::new(token, weights[token]))
        .collect();
    let count = heaviest(&mut candidates, top_p * total);
    candidates.truncate(count.max(1));
    let mut kept: Vec<usize> = candidates.into_iter().map(Candidate::token).collect();
    kept.sort_unstable();
    kept
}

/// A token and its non-negative weight, ordered by weight, then by descending token id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

// === impl Candidate ===

impl Candidate {
    fn new(token: usize, weight: f32) -> Candidate {
        // Non-negative floats compare like their bits.
        Candidate(u64::from(weight.to_bits()) << 32 | u64::from(!(token as u32)))
    }

    fn token(self) -> usize {
        !(self.0 as u32) as usize
    }

    fn weight(self) -> f32 {
        f32::from_bits((self.0 >> 32) as u32)
    }
}

/// Moves the heaviest candidates to the front, in order; returns how many of them reach the wanted weight.
fn heaviest(candidates: &mut [Candidate], wanted: f64) -> usize {
    const FIRST: usize = 32;
    let by_weight = |a: &Candidate, b: &Candidate| b.cmp(a);
    let (mut sum, mut ordered, mut step) = (0.0, 0, FIRST);
    while ordered < candidates.len() {
        let rest = &mut candidates[ordered..];
        let count = step.min(rest.len());
        if count < rest.len() {
            rest.select_nth_unstable_by(count, by_weight);
        }
        rest[..count].sort_unstable_by(by_weight);
        for (index, candidate) in rest[..count].iter().enumerate() {
            sum += f64::from(candidate.weight());
            if sum >= wanted {
                return ordered + index + 1;
            }
        }
        ordered += count;
        step *= 4;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nucleus_is_that_of_a_full_sort() {
        for (count, top_p) in [(1, 0.5), (31, 0.9), (40, 0.95), (1_000, 0.5), (5_000, 0.999)] {
            let weight = |token: usize| (-(((token * 7919) % 613) as f32) / 90.0).exp();
            let weights: Vec<f32> = (0..count).map(weight).collect();
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
            let mut sum = 0.0;
            let reaches = |&token: &usize| {
                sum += f64::from(weights[token]);
                sum >= top_p * total
            };
            let last = order.iter().position(reaches).expect("all together reach it");
            order.truncate(last + 1);
            order.sort_unstable();
            for level in SimdLevel::available() {
                assert_eq!(nucleus(level, &weights, top_p, total), order, "{count}, {top_p}");
            }
        }
    }
}
