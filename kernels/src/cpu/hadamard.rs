//! The Walsh-Hadamard transform, which spreads outliers evenly before a vector is quantised.
//!
//! The product of two transformed vectors is that of the vectors themselves times the block length; transforming a
//! vector twice multiplies it by the block length. Keys and queries are compared in the transformed basis, and values
//! are stored in it, so a single large element no longer determines the step of its whole group. (Rotation of keys and
//! values before quantisation: QuaRot, Ashkboos et al. 2024.)

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::{LANES, SimdLevel, at_level};

/// Maximum elements of a block.
const LONGEST: usize = 256;

/// Elements that are transformed together, in vectors of `size` elements (a multiple of 16): a power of two.
#[inline]
pub fn block_length(size: usize) -> usize {
    (1 << size.trailing_zeros()).min(LONGEST)
}

/// Transforms all blocks of a vector in place, without the factor that would make it a rotation.
pub fn hadamard(level: SimdLevel, x: &mut [f32]) {
    let length = block_length(x.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected; blocks are multiples of 16, and the vector has whole ones.
        SimdLevel::Avx512Vnni => unsafe { avx512::hadamard(x, length) },
        _ => at_level!(level, hadamard_body, (x: &mut [f32], length: usize)),
    }
}

#[inline(always)]
fn hadamard_body(x: &mut [f32], length: usize) {
    for block in x.chunks_exact_mut(length) {
        for chunk in block.as_chunks_mut::<LANES>().0 {
            *chunk = butterfly::<1>(*chunk);
            *chunk = butterfly::<2>(*chunk);
            *chunk = butterfly::<4>(*chunk);
            *chunk = butterfly::<8>(*chunk);
        }
        let mut half = LANES;
        while half < length {
            for pair in block.chunks_exact_mut(2 * half) {
                let (first, second) = pair.split_at_mut(half);
                for (x, y) in first.iter_mut().zip(second) {
                    (*x, *y) = (*x + *y, *x - *y);
                }
            }
            half *= 2;
        }
    }
}

/// Sums and differences of elements `HALF` apart.
#[inline(always)]
fn butterfly<const HALF: usize>(x: [f32; LANES]) -> [f32; LANES] {
    let other: [f32; LANES] = std::array::from_fn(|lane| x[lane ^ HALF]);
    std::array::from_fn(|lane| {
        let sign = if lane & HALF == 0 { 1.0 } else { -1.0 };
        x[lane] * sign + other[lane]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + salt * 31) % 1000) as f32 / 500.0 - 1.0).collect()
    }

    #[test]
    fn twice_transformed_is_the_vector_times_the_block() {
        for size in [16, 64, 96, 128, 512] {
            let mut x = numbers(size, 1);
            hadamard(SimdLevel::detect(), &mut x);
            hadamard(SimdLevel::detect(), &mut x);
            let block = block_length(size) as f32;
            for (x, before) in x.iter().zip(numbers(size, 1)) {
                assert!((x / block - before).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn products_are_kept_times_the_block() {
        let (mut x, mut y) = (numbers(128, 1), numbers(128, 2));
        let product = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        let before = product(&x, &y);
        hadamard(SimdLevel::detect(), &mut x);
        hadamard(SimdLevel::detect(), &mut y);
        assert!((product(&x, &y) / 128.0 - before).abs() < 1e-3);
    }

    #[test]
    fn an_outlier_is_spread_over_its_block() {
        let mut x = vec![0.0; 64];
        x[5] = 64.0;
        hadamard(SimdLevel::detect(), &mut x);
        assert!(x.iter().all(|element| element.abs() == 64.0));
    }

    #[test]
    fn every_level_gives_the_portable_bits() {
        let run = |level| {
            let mut x = numbers(96, 3);
            hadamard(level, &mut x);
            x.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        for level in SimdLevel::available() {
            assert_eq!(run(level), run(SimdLevel::Portable), "{level:?}");
        }
    }
}
