//! Rows for trials of algorithms: for one output each, the products nearly cancel, so the remainder shows the order in
//! which they were added, even after rounding to bfloat16. Pure.

use half::bf16;

/// Number of elements that are set, one after the other, to bring the sum near 0: each reduces it to a 256th.
const CORRECTIONS: usize = 3;
/// Number of powers of 2 that the numbers span.
const MAGNITUDES: u64 = 16;

/// A row of inputs whose product with these weights is about as small as its rounding errors.
pub(super) fn cancelling_row(seed: usize, weights: &[bf16]) -> Vec<bf16> {
    let mut row: Vec<bf16> = (0..weights.len()).map(|column| number(seed, column)).collect();
    let spread = (weights.len() / (CORRECTIONS + 1)).max(1);
    for correction in 1..=CORRECTIONS {
        // The largest weight of a separate section.
        let stretch = spread * correction..weights.len().min(spread * (correction + 1));
        let weigh = |&column: &usize| weights[column].to_f32().abs();
        let Some(column) = stretch.max_by(|a, b| weigh(a).total_cmp(&weigh(b))) else { break };
        if weights[column].to_f32() == 0.0 {
            continue;
        }
        let products = weights.iter().zip(&row).enumerate().filter(|&(other, _)| other != column);
        let sum: f64 = products.map(|(_, (weight, x))| weight.to_f64() * x.to_f64()).sum();
        let exact = bf16::from_f64(-sum / weights[column].to_f64());
        if exact.is_finite() {
            row[column] = exact;
        }
    }
    row
}

/// A number between -1 and 1 with one of [`MAGNITUDES`] exponents: sums of numbers of equal magnitude are often exact
/// in any order.
fn number(row: usize, column: usize) -> bf16 {
    let mixed = ((row * 0x9e37_79b9 + column + 1) as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let exponent = (mixed >> 20) % MAGNITUDES;
    let number = (mixed >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    bf16::from_f32(number / (1u64 << exponent) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(products: impl Iterator<Item = f32>) -> f32 {
        products.fold(0.0, |sum, product| sum + product)
    }

    #[test]
    fn the_order_of_addition_shows_in_bfloat16() {
        for inputs in [64, 96, 576, 3584] {
            let mut shown = 0;
            for seed in 0..20 {
                let weights: Vec<bf16> =
                    (0..inputs).map(|column| number(seed + 999, column)).collect();
                let row = cancelling_row(seed, &weights);
                let products: Vec<f32> =
                    weights.iter().zip(&row).map(|(w, x)| w.to_f32() * x.to_f32()).collect();
                let whole = sum(products.iter().copied());
                let (first, second) = products.split_at(inputs / 2);
                let halves = sum(first.iter().copied()) + sum(second.iter().copied());
                shown += usize::from(bf16::from_f32(whole) != bf16::from_f32(halves));
            }
            assert!(shown >= 12, "{shown} of 20 with {inputs} inputs");
        }
    }

    #[test]
    fn weights_of_zero_are_no_trouble() {
        assert!(cancelling_row(3, &[bf16::ZERO; 64]).iter().all(|number| number.is_finite()));
        assert_eq!(cancelling_row(3, &[bf16::ONE]).len(), 1);
    }
}
