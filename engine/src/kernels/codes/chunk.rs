//! Some groups of a panel, made ready for the kernels: codes as bytes, scales and mins as floats.
//!
//! This is done once for all rows of a product, in memory that stays in the first-level cache.

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

use std::ops::Range;

use crate::kernels::packed::{BLOCK_CODES, Format, Scales};
use crate::kernels::quantise::MANTISSA_BITS;
use crate::kernels::{Level, PANEL, at_level};

/// Groups of a chunk at most: with variants and some rows they fit the first-level cache.
const MOST_GROUPS: usize = 8;
/// Groups that share factors.
const FACTORED_GROUPS: usize = 8;
const _: () = assert!(FACTORED_GROUPS.is_multiple_of(MOST_GROUPS));

/// Cuts the groups of a panel into chunks. None goes across the border of those that share factors.
pub(super) fn chunks(format: Format, groups: usize) -> impl Iterator<Item = Range<usize>> {
    let chunks = groups.div_ceil(MOST_GROUPS);
    let is_factored = matches!(format.scales, Scales::Factored | Scales::Sixteens);
    (0..chunks).map(move |chunk| {
        if is_factored {
            chunk * MOST_GROUPS..groups.min((chunk + 1) * MOST_GROUPS)
        } else {
            groups * chunk / chunks..groups * (chunk + 1) / chunks
        }
    })
}

/// Bytes of the lower bits of a block's codes.
const HALF_CODES: usize = BLOCK_CODES / 2;

/// Mantissas that activations' scales can have.
pub(super) const MANTISSAS: usize = 1 << MANTISSA_BITS;

/// One number for each output.
pub(super) type Numbers = [f32; PANEL];

/// Some groups of a panel.
pub(super) struct Chunk<'a> {
    pub(super) groups: Range<usize>,
    /// For every group, for every 4 inputs, 32 outputs x 4 codes; `stride` bytes from a group to the next. Nibbles have
    /// the second half of the group in their upper bits.
    pub(super) codes: &'a [u8],
    pub(super) are_nibbles: bool,
    pub(super) stride: usize,
    /// Bits of a code.
    pub(super) bits: u8,
    /// Subtracted from every code.
    pub(super) offset: i32,
    /// Whether the halves of a group have scales of their own.
    pub(super) halves_differ: bool,
    /// One a group, or two; empty if variants were asked for.
    pub(super) scales: &'a [Numbers],
    /// The same times all mantissas that activations' scales can have, in ascending order. Empty if not asked for.
    pub(super) variants: &'a [[Numbers; MANTISSAS]],
    /// One a group; empty for types without.
    pub(super) mins: &'a [Numbers],
}

/// Where a chunk comes from.
pub(super) struct Source<'a> {
    pub(super) format: Format,
    pub(super) panel: &'a [u8],
    /// Inputs of the panel.
    pub(super) inputs: usize,
    /// One of [`chunks`].
    pub(super) groups: Range<usize>,
    /// Whether variants are wanted instead of scales: only with AVX-512, and not where halves of a group differ.
    pub(super) with_variants: bool,
}

/// Memory for a chunk.
#[derive(Debug, Clone)]
pub(crate) struct Room(Box<Places>);

#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Places {
    pub(super) codes: [u8; MOST_GROUPS * BLOCK_CODES],
    pub(super) scales: [Numbers; MOST_GROUPS * 2],
    pub(super) variants: [[Numbers; MANTISSAS]; MOST_GROUPS],
    pub(super) mins: [Numbers; MOST_GROUPS],
}

// === impl Room ===

impl Default for Room {
    fn default() -> Room {
        Room(Box::new(Places {
            codes: [0; MOST_GROUPS * BLOCK_CODES],
            scales: [[0.0; PANEL]; MOST_GROUPS * 2],
            variants: [[[0.0; PANEL]; MANTISSAS]; MOST_GROUPS],
            mins: [[0.0; PANEL]; MOST_GROUPS],
        }))
    }
}

impl Room {
    /// Makes groups of a panel ready.
    pub(super) fn ready<'a>(&'a mut self, level: Level, source: &Source<'a>) -> Chunk<'a> {
        let to = &mut *self.0;
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level was detected.
            Level::Avx512Vnni => unsafe { super::avx512::ready(source, to) },
            _ => at_level!(level, ready_body, (source: &Source<'_>, to: &mut Places)),
        }
        let &Source { format, ref groups, with_variants, .. } = source;
        #[cfg(target_arch = "x86_64")]
        let is_avx512 = level == Level::Avx512Vnni;
        #[cfg(not(target_arch = "x86_64"))]
        let is_avx512 = false;
        let are_nibbles = format.bits == 4 && is_avx512 && !source.expands_nibbles();
        let is_expanded = format.bits < 8 && !are_nibbles;
        let halves_differ = format.scales == Scales::Sixteens;
        let has_mins = matches!(format.scales, Scales::HalfMin | Scales::Factored);
        let (count, scales) = (groups.len(), groups.len() * if halves_differ { 2 } else { 1 });
        Chunk {
            groups: groups.clone(),
            codes: if is_expanded { &self.0.codes[..count * BLOCK_CODES] } else { source.bytes() },
            are_nibbles,
            stride: if is_expanded { BLOCK_CODES } else { format.block_bytes() },
            bits: format.bits,
            offset: i32::from(format.offset),
            halves_differ,
            scales: &self.0.scales[..if with_variants { 0 } else { scales }],
            variants: &self.0.variants[..if with_variants { scales } else { 0 }],
            mins: &self.0.mins[..if has_mins { count } else { 0 }],
        }
    }
}

// === impl Source ===

impl<'a> Source<'a> {
    /// Whether AVX-512 makes nibbles bytes once for all rows, instead of in every tile. With mins beside variants they
    /// would crowd each other out of the first-level cache.
    pub(super) fn expands_nibbles(&self) -> bool {
        self.with_variants && self.format.scales == Scales::Half
    }

    /// The factors of these groups.
    pub(super) fn header(&self) -> &'a [u8] {
        let bytes = self.format.header_bytes(256);
        &self.panel[self.groups.start / FACTORED_GROUPS * bytes..][..bytes]
    }

    /// The blocks of these groups.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes().chunks_exact(self.format.block_bytes())
    }

    fn bytes(&self) -> &'a [u8] {
        let (first, block) = (self.format.header_bytes(self.inputs), self.format.block_bytes());
        &self.panel[first + self.groups.start * block..first + self.groups.end * block]
    }
}

#[inline(always)]
fn ready_body(source: &Source<'_>, to: &mut Places) {
    let (format, header) = (source.format, source.header());
    let (mut factors, mut min_factors) = ([0.0; PANEL], [0.0; PANEL]);
    match format.scales {
        Scales::Half | Scales::HalfMin => {}
        Scales::Factored => {
            halves(header, &mut factors);
            halves(&header[PANEL * 2..], &mut min_factors);
        }
        Scales::Sixteens => halves(header, &mut factors),
    }
    for (group, block) in source.blocks().take(MOST_GROUPS).enumerate() {
        let (codes, stored) = block.split_at(format.code_bytes());
        match format.scales {
            Scales::Half => halves(stored, &mut to.scales[group]),
            Scales::HalfMin => {
                halves(stored, &mut to.scales[group]);
                halves(&stored[PANEL * 2..], &mut to.mins[group]);
            }
            Scales::Factored => {
                products(&factors, stored, &mut to.scales[group]);
                products(&min_factors, &stored[PANEL..], &mut to.mins[group]);
            }
            Scales::Sixteens => {
                signed_products(&factors, stored, &mut to.scales[group * 2]);
                signed_products(&factors, &stored[PANEL..], &mut to.scales[group * 2 + 1]);
            }
        }
        let room = &mut to.codes[group * BLOCK_CODES..][..BLOCK_CODES];
        match format.bits {
            4 => low_bits(codes, room),
            5 => {
                low_bits(codes, room);
                high_bits::<1>(&codes[HALF_CODES..], room);
            }
            6 => {
                low_bits(codes, room);
                high_bits::<2>(&codes[HALF_CODES..], room);
            }
            _ => {}
        }
    }
}

/// The lowest four bits of a block's codes.
#[inline(always)]
fn low_bits(packed: &[u8], codes: &mut [u8]) {
    let (first, second) = codes.split_at_mut(HALF_CODES);
    for ((first, second), &packed) in first.iter_mut().zip(second).zip(packed) {
        *first = packed & 15;
        *second = packed >> 4;
    }
}

/// The upper `BITS` bits of a block's codes.
#[inline(always)]
fn high_bits<const BITS: usize>(packed: &[u8], codes: &mut [u8]) {
    let packed = &packed[..BLOCK_CODES * BITS / 8];
    for (part, codes) in codes.chunks_exact_mut(packed.len()).enumerate() {
        let (shift, mask) = (part * BITS, (1 << BITS) - 1);
        for (code, &packed) in codes.iter_mut().zip(packed) {
            *code |= (packed >> shift & mask) << 4;
        }
    }
}

/// Finite f16 numbers as floats.
#[inline(always)]
fn halves(packed: &[u8], to: &mut Numbers) {
    // 2^112: the exponents' biases differ by as much. Numbers below f16's normal ones come out right, too.
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    for (to, half) in to.iter_mut().zip(packed.chunks_exact(2)) {
        let bits = u32::from(u16::from_le_bytes([half[0], half[1]]));
        let magnitude = f32::from_bits((bits & 0x7fff) << 13) * SCALE;
        *to = f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16);
    }
}

#[inline(always)]
fn products(factors: &Numbers, bytes: &[u8], to: &mut Numbers) {
    for ((to, factor), &byte) in to.iter_mut().zip(factors).zip(bytes) {
        *to = factor * f32::from(byte);
    }
}

#[inline(always)]
fn signed_products(factors: &Numbers, bytes: &[u8], to: &mut Numbers) {
    for ((to, factor), &byte) in to.iter_mut().zip(factors).zip(bytes) {
        *to = factor * f32::from(byte as i8);
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_finite_half_becomes_its_float() {
        for bits in (0..=u16::MAX).filter(|&bits| f16::from_bits(bits).is_finite()) {
            let mut numbers = [0.0; PANEL];
            halves(&[bits.to_le_bytes(); PANEL].concat(), &mut numbers);
            assert_eq!(numbers[7].to_bits(), f16::from_bits(bits).to_f32().to_bits());
        }
    }
}
