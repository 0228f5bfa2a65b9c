//! Drawing a token from logits.
//!
//! Random numbers are a function of (sample seed, position): nothing is carried from draw to draw, so a sample's
//! draws cannot depend on what else is drawn. Top-p never sorts the vocabulary: tokens that cannot belong to the
//! nucleus are dropped by a bound first, and of the rest only the heaviest are ordered, a few at a time.

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

use crate::kernels::rows::{exp_scaled, greatest};
use crate::kernels::{Level, at_level};
use crate::request::Sampling;

/// Added to a slot's number to make its position: read-outs never share numbers with free tokens.
const SLOT_POSITIONS: u64 = 1 << 40;

/// The random number in [0, 1) of a sample's position.
pub(crate) fn uniform(seed: u64, position: u64) -> f64 {
    // Two rounds of splitmix64's finaliser over a Weyl sequence; one round would leave neighbouring seeds visible.
    let mixed = mix(mix(seed ^ 0x6a09_e667_f3bc_c909)
        .wrapping_add(position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// The random number of a read-out's slot.
pub(crate) fn slot_uniform(seed: u64, slot: usize) -> f64 {
    uniform(seed, SLOT_POSITIONS + slot as u64)
}

fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 30;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 27;
    bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Draws a token. `logits` has a length that is a multiple of 16, padded with minus infinity; `weights` is scratch.
/// `None` when the logits hold no number.
pub(crate) fn draw(
    level: Level,
    logits: &[f32],
    sampling: Sampling,
    position: u64,
    weights: &mut Vec<f32>,
) -> Option<u32> {
    let mut top = 0.0;
    greatest(level, logits, &mut top);
    if !top.is_finite() {
        return None;
    }
    let most_likely = || logits.iter().position(|&logit| logit == top).map(|token| token as u32);
    if sampling.temperature <= 0.0 {
        return most_likely();
    }
    weights.resize(logits.len(), 0.0);
    let mut total = 0.0;
    exp_scaled(level, logits, top, 1.0 / sampling.temperature, weights, &mut total);
    let random = uniform(sampling.seed, position);
    let drawn = if sampling.top_p >= 1.0 {
        pick(weights.iter().copied().enumerate(), random)
    } else {
        let kept = nucleus(level, weights, f64::from(sampling.top_p), f64::from(total));
        pick(kept.into_iter().map(|token| (token, weights[token])), random)
    };
    drawn.map(|token| token as u32).or_else(most_likely)
}

/// The tokens of the nucleus, in ascending order.
fn nucleus(level: Level, weights: &[f32], top_p: f64, total: f64) -> Vec<usize> {
    // All tokens below this bound together weigh less than what the nucleus leaves out.
    let bound = ((1.0 - top_p) * total / weights.len() as f64) as f32;
    let mut blocks = Vec::new();
    blocks_with(level, weights, bound, &mut blocks);
    let tokens = blocks.into_iter().flat_map(|block| {
        let first = block * BLOCK;
        first..weights.len().min(first + BLOCK)
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

/// Weights that are looked at together.
const BLOCK: usize = 64;

/// The blocks that hold a weight of at least `bound`.
fn blocks_with(level: Level, weights: &[f32], bound: f32, blocks: &mut Vec<usize>) {
    at_level!(level, blocks_with_body, (weights: &[f32], bound: f32, blocks: &mut Vec<usize>));
}

#[inline(always)]
fn blocks_with_body(weights: &[f32], bound: f32, blocks: &mut Vec<usize>) {
    for (block, weights) in weights.chunks(BLOCK).enumerate() {
        // Without an early end, which would keep the compiler from comparing many at once.
        let found: u32 = weights.iter().map(|&weight| u32::from(weight >= bound)).sum();
        if found > 0 {
            blocks.push(block);
        }
    }
}

/// A token and its weight (zero or more), ordered by weight, then by token from the last to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

// === impl Candidate ===

impl Candidate {
    fn new(token: usize, weight: f32) -> Candidate {
        // Weights compare as their bits do.
        Candidate(u64::from(weight.to_bits()) << 32 | u64::from(!(token as u32)))
    }

    fn token(self) -> usize {
        !(self.0 as u32) as usize
    }

    fn weight(self) -> f32 {
        f32::from_bits((self.0 >> 32) as u32)
    }
}

/// Brings the heaviest candidates to the front, in order; gives how many of them weigh as much as wanted.
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

/// Inverse of the cumulative weights.
fn pick(weights: impl Iterator<Item = (usize, f32)> + Clone, random: f64) -> Option<usize> {
    let total: f64 = weights.clone().map(|(_, weight)| f64::from(weight)).sum();
    let mut left = random * total;
    let mut last = None;
    for (token, weight) in weights {
        if weight > 0.0 {
            last = Some(token);
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

/// Draws one of a few choices by probability, with the sample's temperature and top-p.
pub(crate) fn draw_choice(probabilities: &[f64], sampling: Sampling, random: f64) -> usize {
    let best = most_likely_choice(probabilities);
    if sampling.temperature <= 0.0 {
        return best;
    }
    let top = probabilities[best];
    let weights: Vec<f64> = probabilities
        .iter()
        .map(|&probability| (probability / top).powf(1.0 / f64::from(sampling.temperature)))
        .collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]).then(a.cmp(&b)));
    let wanted = f64::from(sampling.top_p) * weights.iter().sum::<f64>();
    let (mut sum, mut count) = (0.0, 0);
    while count < order.len() && (count == 0 || sum < wanted) {
        sum += weights[order[count]];
        count += 1;
    }
    order.truncate(count);
    order.sort_unstable();
    let mut left = random * sum;
    for &choice in &order {
        left -= weights[choice];
        if left < 0.0 {
            return choice;
        }
    }
    best
}

/// The most probable choice; ties go to the lowest index.
pub(crate) fn most_likely_choice(probabilities: &[f64]) -> usize {
    let mut best = 0;
    for (choice, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = choice;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(temperature: f32, top_p: f32) -> Sampling {
        Sampling { temperature, top_p, seed: 3 }
    }

    fn shares(logits: &[f32], temperature: f32, top_p: f32) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        let mut scratch = Vec::new();
        for position in 0..20_000 {
            let sampling = settings(temperature, top_p);
            let token =
                draw(Level::detect(), logits, sampling, position, &mut scratch).expect("numbers");
            counts[token as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    fn logits() -> Vec<f32> {
        let mut logits = vec![f32::NEG_INFINITY; 16];
        for (logit, probability) in logits.iter_mut().zip([0.5f32, 0.3, 0.15, 0.05]) {
            *logit = probability.ln();
        }
        logits
    }

    #[test]
    fn draws_follow_the_probabilities() {
        for (share, expected) in shares(&logits(), 1.0, 1.0).iter().zip([0.5, 0.3, 0.15, 0.05]) {
            assert!((share - expected).abs() < 0.015, "{share} instead of {expected}");
        }
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_it() {
        let shares = shares(&logits(), 1.0, 0.7);
        assert!((shares[0] - 0.625).abs() < 0.015, "{shares:?}");
        assert_eq!(shares[2] + shares[3], 0.0);
    }

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
            for level in Level::available() {
                assert_eq!(nucleus(level, &weights, top_p, total), order, "{count}, {top_p}");
            }
        }
    }

    #[test]
    fn greedy_takes_the_first_of_equals_and_refuses_what_is_not_a_number() {
        let mut logits = vec![1.0, 2.0, 2.0, 0.0];
        logits.resize(16, f32::NEG_INFINITY);
        let mut scratch = Vec::new();
        assert_eq!(draw(Level::detect(), &logits, settings(0.0, 1.0), 0, &mut scratch), Some(1));
        logits[5] = f32::NAN;
        assert_eq!(draw(Level::detect(), &logits, settings(0.0, 1.0), 0, &mut scratch), None);
    }

    #[test]
    fn random_numbers_are_a_function_of_seed_and_position() {
        assert_eq!(uniform(1, 2), uniform(1, 2));
        assert_ne!(uniform(1, 2), uniform(1, 3));
        assert_ne!(uniform(1, 2), uniform(2, 2));
        let mean: f64 = (0..10_000).map(|i| uniform(i, 7)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01);
    }

    #[test]
    fn choices_are_drawn_by_their_probability() {
        let probabilities = [0.2, 0.5, 0.3];
        let mut counts = [0.0; 3];
        for slot in 0..10_000 {
            let random = slot_uniform(9, slot);
            counts[draw_choice(&probabilities, settings(1.0, 1.0), random)] += 1e-4;
        }
        for (count, probability) in counts.iter().zip(probabilities) {
            assert!((count - probability).abs() < 0.02, "{counts:?}");
        }
        assert_eq!(draw_choice(&probabilities, settings(0.0, 1.0), 0.99), 1);
    }
}
