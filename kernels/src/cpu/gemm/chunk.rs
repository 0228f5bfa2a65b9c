//! Prepares some groups of a panel for the kernels: codes as bytes, scales and mins as floats, or as integers for a
//! superblock.
//!
//! This is done once for all rows of a product, in memory that stays in the first-level cache.

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

mod ready;

use std::ops::Range;

use super::superblock::GROUPS as SUPERBLOCK_GROUPS;
use crate::cpu::packed::{BLOCK_CODES, Format, Scales};
use crate::cpu::quantise::MANTISSA_BITS;
use crate::cpu::{PANEL, SimdLevel, at_level};

/// Maximum groups of a chunk: with variants and some rows they fit in the first-level cache.
const MOST_GROUPS: usize = 8;
const _: () = assert!(SUPERBLOCK_GROUPS == MOST_GROUPS, "a superblock is a chunk");

/// Divides the groups of a panel into chunks. A superblock is one chunk.
pub(super) fn chunks(format: Format, groups: usize) -> impl Iterator<Item = Range<usize>> {
    let chunks = groups.div_ceil(MOST_GROUPS);
    assert!(!format.is_factored() || groups.is_multiple_of(SUPERBLOCK_GROUPS));
    (0..chunks).map(move |chunk| groups * chunk / chunks..groups * (chunk + 1) / chunks)
}

/// Mantissas that activations' scales can have.
pub(super) const MANTISSAS: usize = 1 << MANTISSA_BITS;

/// One number for each output.
pub(super) type Numbers = [f32; PANEL];
/// Two numbers for each output, of parts whose sums are packed together.
pub(super) type Pairs = [[i16; 2]; PANEL];

/// Some groups of a panel.
pub(super) struct Chunk<'a> {
    pub(super) groups: Range<usize>,
    /// For every group, for every 4 inputs, 32 outputs x 4 codes; groups are `stride` bytes apart. Nibbles have the
    /// second half of the group in their upper bits.
    pub(super) codes: &'a [u8],
    pub(super) are_nibbles: bool,
    pub(super) stride: usize,
    /// The rest of the panel, starting with the next chunk's codes.
    pub(super) following: &'a [u8],
    /// Bits of a code.
    pub(super) bits: u8,
    /// Subtracted from every code.
    pub(super) offset: i32,
    pub(super) scaling: Scaling<'a>,
}

/// Factors of the codes, and terms to be added.
pub(super) enum Scaling<'a> {
    Groups(GroupScales<'a>),
    /// The chunk is a superblock.
    Superblock(SuperblockScales<'a>),
}

/// Floats for every group.
pub(super) struct GroupScales<'a> {
    /// One per group; empty if variants were requested.
    pub(super) scales: &'a [Numbers],
    /// The scales times each mantissa that an activation's scale can have, in ascending order. Empty unless requested.
    pub(super) variants: &'a [[Numbers; MANTISSAS]],
    /// One per group; empty for types without mins.
    pub(super) mins: &'a [Numbers],
}

/// Integers for every part, and floats for all parts.
#[derive(Clone, Copy)]
pub(super) struct SuperblockScales<'a> {
    /// For every two parts: halves of a group, if there are as many entries as groups, or else groups.
    pub(super) scales: &'a [Pairs],
    /// For every two groups; empty for types without mins.
    pub(super) mins: &'a [Pairs],
    /// The unit of sums times scales, without the activations' scale.
    pub(super) factors: &'a Numbers,
    /// The same for mins, negated.
    pub(super) min_factors: &'a Numbers,
}

/// Where a chunk comes from.
pub(super) struct Source<'a> {
    pub(super) format: Format,
    pub(super) panel: &'a [u8],
    /// Inputs of the panel.
    pub(super) inputs: usize,
    /// One of [`chunks`].
    pub(super) groups: Range<usize>,
    /// Whether variants are requested instead of scales: only with AVX-512, and not for superblocks.
    pub(super) with_variants: bool,
}

/// Memory for a chunk.
#[derive(Debug, Clone)]
pub struct Workspace(Box<Places>);

#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Places {
    pub(super) codes: [u8; MOST_GROUPS * BLOCK_CODES],
    pub(super) scales: [Numbers; MOST_GROUPS],
    pub(super) variants: [[Numbers; MANTISSAS]; MOST_GROUPS],
    pub(super) mins: [Numbers; MOST_GROUPS],
    pub(super) scale_pairs: [Pairs; SUPERBLOCK_GROUPS],
    pub(super) min_pairs: [Pairs; SUPERBLOCK_GROUPS / 2],
    pub(super) factors: Numbers,
    pub(super) min_factors: Numbers,
}

// === impl Room ===

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace(Box::new(Places {
            codes: [0; MOST_GROUPS * BLOCK_CODES],
            scales: [[0.0; PANEL]; MOST_GROUPS],
            variants: [[[0.0; PANEL]; MANTISSAS]; MOST_GROUPS],
            mins: [[0.0; PANEL]; MOST_GROUPS],
            scale_pairs: [[[0; 2]; PANEL]; SUPERBLOCK_GROUPS],
            min_pairs: [[[0; 2]; PANEL]; SUPERBLOCK_GROUPS / 2],
            factors: [0.0; PANEL],
            min_factors: [0.0; PANEL],
        }))
    }
}

impl Workspace {
    /// Prepares groups of a panel.
    pub(super) fn ready<'a>(&'a mut self, level: SimdLevel, source: &Source<'a>) -> Chunk<'a> {
        let to = &mut *self.0;
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level was detected.
            SimdLevel::Avx512Vnni => unsafe { super::avx512::ready(source, to) },
            _ => at_level!(level, ready::ready, (source: &Source<'_>, to: &mut Places)),
        }
        let &Source { format, ref groups, with_variants, .. } = source;
        #[cfg(target_arch = "x86_64")]
        let is_avx512 = level == SimdLevel::Avx512Vnni;
        #[cfg(not(target_arch = "x86_64"))]
        let is_avx512 = false;
        let are_nibbles = format.bits == 4 && is_avx512 && !source.expands_nibbles();
        let is_expanded = format.bits < 8 && !are_nibbles;
        let count = groups.len();
        Chunk {
            groups: groups.clone(),
            codes: if is_expanded { &self.0.codes[..count * BLOCK_CODES] } else { source.bytes() },
            are_nibbles,
            stride: if is_expanded { BLOCK_CODES } else { format.block_bytes() },
            following: source.following(),
            bits: format.bits,
            offset: i32::from(format.offset),
            scaling: self.0.scaling(format.scales, count, with_variants),
        }
    }
}

// === impl Places ===

impl Places {
    fn scaling(&self, scales: Scales, groups: usize, with_variants: bool) -> Scaling<'_> {
        let superblock = |scales: usize, mins: usize| {
            Scaling::Superblock(SuperblockScales {
                scales: &self.scale_pairs[..scales],
                mins: &self.min_pairs[..mins],
                factors: &self.factors,
                min_factors: &self.min_factors,
            })
        };
        match scales {
            Scales::Factored => superblock(groups / 2, groups / 2),
            Scales::Sixteens => superblock(groups, 0),
            Scales::Half | Scales::HalfMin => {
                let (floats, variants) = if with_variants { (0, groups) } else { (groups, 0) };
                Scaling::Groups(GroupScales {
                    scales: &self.scales[..floats],
                    variants: &self.variants[..variants],
                    mins: &self.mins[..if scales == Scales::HalfMin { groups } else { 0 }],
                })
            }
        }
    }
}

// === impl Source ===

impl<'a> Source<'a> {
    /// Whether AVX-512 expands nibbles to bytes once for all rows, instead of in every tile. Together with mins and
    /// variants they would not fit in the first-level cache.
    pub(super) fn expands_nibbles(&self) -> bool {
        self.with_variants && self.format.scales == Scales::Half
    }

    /// The factors of these groups.
    pub(super) fn header(&self) -> &'a [u8] {
        let bytes = self.format.header_bytes(256);
        &self.panel[self.groups.start / SUPERBLOCK_GROUPS * bytes..][..bytes]
    }

    /// The blocks of these groups.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes().chunks_exact(self.format.block_bytes())
    }

    fn bytes(&self) -> &'a [u8] {
        &self.panel[self.block_start(self.groups.start)..self.block_start(self.groups.end)]
    }

    fn following(&self) -> &'a [u8] {
        &self.panel[self.block_start(self.groups.end)..]
    }

    fn block_start(&self, group: usize) -> usize {
        self.format.header_bytes(self.inputs) + group * self.format.block_bytes()
    }
}
