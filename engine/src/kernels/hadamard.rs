//! The Walsh-Hadamard transform, which spreads outliers evenly before a vector is quantised.
//!
//! Products of two transformed vectors are those of the vectors themselves, times the block length; twice
//! transformed, a vector comes back times the block length. Keys and queries are compared in the transformed basis,
//! values are stored in it: one great element no longer sets the step for its whole group. (Rotation of keys and
//! values before quantisation: QuaRot, Ashkboos et al. 2024.)

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

use super::{LANES, Level, at_level};

/// Elements of a block at most.
const LONGEST: usize = 256;

/// Signs of the transform of 16 elements.
const SIGNS: [[f32; LANES]; LANES] = signs();

/// Elements that are transformed together, in vectors of `size` elements (a multiple of 16): a power of two.
pub(crate) fn block_length(size: usize) -> usize {
    (1 << size.trailing_zeros()).min(LONGEST)
}

/// Transforms all blocks of a vector in place, without the factor that would make it a rotation.
pub(crate) fn hadamard(level: Level, x: &mut [f32]) {
    at_level!(level, hadamard_body, (x: &mut [f32]));
}

#[inline(always)]
fn hadamard_body(x: &mut [f32]) {
    let length = block_length(x.len());
    for block in x.chunks_exact_mut(length) {
        for chunk in block.as_chunks_mut::<LANES>().0 {
            let mut sums = [0.0f32; LANES];
            for (&element, signs) in chunk.iter().zip(&SIGNS) {
                for lane in 0..LANES {
                    sums[lane] += element * signs[lane];
                }
            }
            *chunk = sums;
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

const fn signs() -> [[f32; LANES]; LANES] {
    let mut signs = [[1.0; LANES]; LANES];
    let mut row = 0;
    while row < LANES {
        let mut column = 0;
        while column < LANES {
            if (row & column).count_ones() % 2 == 1 {
                signs[row][column] = -1.0;
            }
            column += 1;
        }
        row += 1;
    }
    signs
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
            hadamard(Level::detect(), &mut x);
            hadamard(Level::detect(), &mut x);
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
        hadamard(Level::detect(), &mut x);
        hadamard(Level::detect(), &mut y);
        assert!((product(&x, &y) / 128.0 - before).abs() < 1e-3);
    }

    #[test]
    fn an_outlier_is_spread_over_its_block() {
        let mut x = vec![0.0; 64];
        x[5] = 64.0;
        hadamard(Level::detect(), &mut x);
        assert!(x.iter().all(|element| element.abs() == 64.0));
    }

    #[test]
    fn every_level_gives_the_portable_bits() {
        let run = |level| {
            let mut x = numbers(96, 3);
            hadamard(level, &mut x);
            x.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        for level in Level::available() {
            assert_eq!(run(level), run(Level::Portable), "{level:?}");
        }
    }
}
