//! The kernels' data about a row's superblock: 256 inputs whose products with K-quants are summed in integers.
//!
//! The weights of a superblock have integer scales (one for 32 or 16 inputs) and share a float factor. If the scales of
//! the row's groups differ by powers of two, a shift converts a group's integer sum to the step of the greatest one,
//! and the whole superblock becomes one integer:
//!
//! ```text
//! integer = sum over parts of  weight scale * ((sum of weight code * code + start) >> shift)
//! output += (factor * integer + min factor * sum over groups of (min * sum of codes)) * greatest scale
//! ```
//!
//! Shifted sums have at most 16 bits, so `vpdpwssd` can multiply two of them by their weight scales at once, whereas
//! converting to floats takes one multiplication for each (on Zen 4 every multiplication takes the slot of a
//! `vpdpbusd`). Two bits more than fit are shifted out, which adds a tenth of the codes' own rounding error. Of two
//! parts that are packed together, one rounds ties up and the other down, so that there is no bias.

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

use super::Group;
use crate::cpu::quantise::ScaleKind;
use crate::cpu::{GROUP, SimdLevel, at_level};

/// Inputs of a superblock.
pub const SUPERBLOCK: usize = 256;
/// Groups of a superblock.
pub(super) const GROUPS: usize = SUPERBLOCK / GROUP;

/// Bits by which a sum of products may exceed 16: 32 codes of five bits (or 16 of six, signed) times 127.
const EXCESS_BITS: u32 = 2;
/// With a larger shift, nothing is left of an 18-bit sum.
const MOST_SHIFT: u32 = 16;
/// Maximum powers of two by which a group's scale may be below the greatest one; smaller scales count as this far
/// below.
const MOST_BELOW: u32 = MOST_SHIFT - EXCESS_BITS;
/// The unit of a superblock's integers, as a multiple of the greatest scale.
pub(super) const STEP: f32 = (1 << EXCESS_BITS) as f32;
/// Sums of codes have 13 bits, so 16 bits can hold eighths.
const SUM_STEPS: i32 = 8;
/// The unit of sums of codes, as a multiple of the greatest scale.
pub(super) const SUM_STEP: f32 = 1.0 / SUM_STEPS as f32;
/// Offset of the codes of types with a scale for 16 inputs.
pub(super) const SIXTEENS_OFFSET: i32 = 32;

/// A superblock of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C, align(64))]
pub struct Superblock {
    /// The greatest scale of its groups.
    pub scale: f32,
    /// Sums of groups' codes in steps of an eighth of that scale.
    pub sums: [i16; GROUPS],
    /// For weights with a scale for 32 inputs: parts are groups.
    pub groups: [Parts; GROUPS / 2],
    /// For weights with a scale for 16 inputs: parts are halves of groups.
    pub halves: [Parts; GROUPS],
}

/// Two parts whose sums are packed together: the first in the lower 16 bits, the second in the upper ones.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct Parts {
    /// Bits by which the first one's sum is shifted to the right.
    pub right: u32,
    /// Bits by which the second one's is shifted to the left, for the same effect in the upper half.
    pub left: u32,
    /// Initial values of their sums: the rounding term, and minus the offset's contribution.
    pub starts: [i32; 2],
}

// === impl Superblock ===

impl Superblock {
    /// From the groups, whose scales must differ by powers of two. A scale that is not finite makes this one not
    /// finite.
    #[inline(always)]
    fn new(groups: &[Group; GROUPS]) -> Superblock {
        // Field by field, so that compilers use one instruction for eight of them.
        let magnitudes = groups.each_ref().map(|group| group.scale.abs().to_bits());
        let [low, high] = [0, 1].map(|half| groups.each_ref().map(|group| group.sums[half]));
        // Magnitudes compare like their bits, and NaN is the greatest.
        let greatest = magnitudes.into_iter().fold(0, u32::max);
        let below = magnitudes.map(|bits| ((greatest >> 23) - (bits >> 23)).min(MOST_BELOW));
        let shifts = below.map(|below| below + EXCESS_BITS);
        let rounding = shifts.map(|shift| 1 << shift >> 1);
        let mut block = Superblock { scale: f32::from_bits(greatest), ..Superblock::default() };
        let (mut sums, mut starts) = ([0; GROUPS], [[0; GROUPS]; 2]);
        for group in 0..GROUPS {
            let sum: i32 = (low[group] + high[group]) * SUM_STEPS;
            sums[group] = (sum + (1 << below[group] >> 1)) >> below[group];
            starts[0][group] = rounding[group] - SIXTEENS_OFFSET * low[group];
            // The second of two parts rounds ties down.
            starts[1][group] = rounding[group] - 1 - SIXTEENS_OFFSET * high[group];
        }
        block.sums = sums.map(|sum| sum as i16);
        for (group, parts) in block.halves.iter_mut().enumerate() {
            let starts = [starts[0][group], starts[1][group]];
            *parts = Parts { right: shifts[group], left: MOST_SHIFT - shifts[group], starts };
        }
        for (pair, parts) in block.groups.iter_mut().enumerate() {
            let [first, second] = [pair * 2, pair * 2 + 1];
            let starts = [rounding[first], rounding[second] - 1];
            *parts = Parts { right: shifts[first], left: MOST_SHIFT - shifts[second], starts };
        }
        block
    }

    /// The sums of two groups, packed as parts are.
    #[inline]
    pub(super) fn pair_of_sums(&self, pair: usize) -> i32 {
        let [first, second] = [0, 1].map(|part| i32::from(self.sums[pair * 2 + part]));
        first & 0xffff | second << 16
    }

    /// Its parts in pairs, for weights with this many pairs of scales.
    pub(super) fn parts(&self, pairs: usize) -> &[Parts] {
        if pairs == GROUPS { &self.halves } else { &self.groups }
    }
}

// === impl ScaleKind ===

impl ScaleKind {
    /// Number of a row's superblocks: 0 if its groups' scales cannot be joined.
    #[inline]
    pub(super) fn superblocks(self, inputs: usize) -> usize {
        if self == ScaleKind::Power { inputs / SUPERBLOCK } else { 0 }
    }
}

// === impl Parts ===

impl Parts {
    /// Bits by which each one's sum is shifted to the right.
    pub(super) fn shifts(&self) -> [u32; 2] {
        [self.right, MOST_SHIFT - self.left]
    }
}

/// Computes a row's superblocks from its groups.
pub(super) fn join_groups(level: SimdLevel, groups: &[Group], blocks: &mut [Superblock]) {
    at_level!(level, join_groups_body, (groups: &[Group], blocks: &mut [Superblock]));
}

#[inline(always)]
fn join_groups_body(groups: &[Group], blocks: &mut [Superblock]) {
    for (block, groups) in blocks.iter_mut().zip(groups.as_chunks().0) {
        *block = Superblock::new(groups);
    }
}
