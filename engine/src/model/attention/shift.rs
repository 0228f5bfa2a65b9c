//! Removes what keys have in common before they are quantised.
//!
//! Models with a bias on their keys (qwen2) have keys that are mostly bias, whose large elements would determine the
//! step of the codes. A key's bias is rotated with the key, so it depends on the position alone. Every block of 64
//! positions has a *shift*: the bias rotated to the block's middle. Keys are stored without it, and a query's product
//! with the shift is added to its scores in the block. The sum is unchanged, up to rounding.

use crate::model::forward::Angles;
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::rows::{RopePairs, dot, rotate};

/// Positions that share a shift. Few enough that even fast pairs rotate little within a block; many enough that the
/// extra product per block costs nothing compared with those of the keys.
pub(crate) const BLOCK: usize = 64;

/// The shifts of one layer.
#[derive(Clone, Copy)]
pub(crate) struct KeyShift<'a> {
    pub(crate) level: SimdLevel,
    pub(crate) pairs: RopePairs,
    pub(crate) angles: &'a Angles,
    /// Key heads x key size, before rotation.
    pub(crate) bias: &'a [f32],
    pub(crate) key_size: usize,
}

// === impl KeyShift ===

impl KeyShift<'_> {
    /// Length that the table of angles must have for keys at `positions` positions.
    pub(crate) fn angles_for(positions: usize) -> usize {
        positions.next_multiple_of(BLOCK)
    }

    /// Subtracts the shift from a rotated key.
    pub(crate) fn take_off(&self, head: usize, position: usize, key: &mut [f32]) {
        for (key, shift) in key.iter_mut().zip(self.of_block(head, position / BLOCK)) {
            *key -= shift;
        }
    }

    /// What every block adds to the scores of some queries (each of key size): queries x blocks.
    pub(crate) fn products(&self, head: usize, blocks: usize, queries: &[f32], out: &mut Vec<f32>) {
        let shifts: Vec<Vec<f32>> = (0..blocks).map(|block| self.of_block(head, block)).collect();
        out.clear();
        for query in queries.chunks_exact(self.key_size) {
            out.extend(shifts.iter().map(|shift| dot(self.level, query, shift)));
        }
    }

    fn of_block(&self, head: usize, block: usize) -> Vec<f32> {
        let mut shift = self.bias[head * self.key_size..][..self.key_size].to_vec();
        rotate(self.level, self.pairs, &mut shift, self.angles.at(block * BLOCK + BLOCK / 2));
        shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_the_same_with_the_shift_taken_off_and_added() {
        let bias: Vec<f32> = (0..64).map(|i| (i * 37 % 23) as f32 - 11.0).collect();
        let frequencies: Vec<f64> =
            (0..16).map(|pair| 10f64.powf(-f64::from(pair) / 4.0)).collect();
        let mut angles = Angles::default();
        angles.extend(&frequencies, 1.0, KeyShift::angles_for(130));
        let shift = KeyShift {
            level: SimdLevel::detect(),
            pairs: RopePairs::Halves,
            angles: &angles,
            bias: &bias,
            key_size: 32,
        };
        let query: Vec<f32> = (0..32).map(|i| (i * 13 % 7) as f32 / 7.0).collect();
        let mut products = Vec::new();
        shift.products(1, 3, &query, &mut products);
        assert_eq!(products.len(), 3);
        for position in [0, 63, 64, 129] {
            let mut key: Vec<f32> = (0..32).map(|i| bias[32 + i] + (i % 5) as f32 / 5.0).collect();
            rotate(shift.level, shift.pairs, &mut key, angles.at(position));
            let before = dot(shift.level, &query, &key);
            shift.take_off(1, position, &mut key);
            let after = dot(shift.level, &query, &key) + products[position / BLOCK];
            assert!((before - after).abs() < 1e-3, "{before} became {after}");
        }
    }
}
