//! Drawing a token from logits.
//!
//! Random numbers are a function of (sample seed, position) and no state is carried between draws, so a sample's draws
//! do not depend on other samples. Top-p never sorts the vocabulary: see `nucleus.rs`.

mod nucleus;

use nucleus::nucleus;

use crate::request::Sampling;
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::rows::{exp_scaled, greatest};

/// Offset from a slot's number to its position, so that read-outs never share random numbers with free tokens.
const SLOT_POSITIONS: u64 = 1 << 40;

/// The random number in [0, 1) for a sample's position.
pub(crate) fn uniform(seed: u64, position: u64) -> f64 {
    // Two rounds of splitmix64's finaliser over a Weyl sequence; one round would leave neighbouring seeds visible.
    let mixed = mix(mix(seed ^ 0x6a09_e667_f3bc_c909)
        .wrapping_add(position.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// The random number for a read-out's slot.
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

/// Draws a token. The length of `logits` must be a multiple of 16, padded with minus infinity; `weights` is scratch.
/// `None` if the greatest logit is not finite.
pub(crate) fn draw(
    level: SimdLevel,
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

/// Inverts the cumulative weights.
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

/// The choice that a read-out takes in slot number `slot`: drawn by the sample's seed, temperature and top-p, or the
/// most probable one at temperature 0. `probabilities` must not be empty.
pub fn choose(probabilities: &[f64], sampling: Sampling, slot: usize) -> usize {
    draw_choice(probabilities, sampling, slot_uniform(sampling.seed, slot))
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
            let token = draw(SimdLevel::detect(), logits, sampling, position, &mut scratch)
                .expect("numbers");
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
    fn greedy_takes_the_first_of_equals_and_refuses_what_is_not_a_number() {
        let mut logits = vec![1.0, 2.0, 2.0, 0.0];
        logits.resize(16, f32::NEG_INFINITY);
        let mut scratch = Vec::new();
        assert_eq!(
            draw(SimdLevel::detect(), &logits, settings(0.0, 1.0), 0, &mut scratch),
            Some(1)
        );
        logits[5] = f32::NAN;
        assert_eq!(draw(SimdLevel::detect(), &logits, settings(0.0, 1.0), 0, &mut scratch), None);
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
