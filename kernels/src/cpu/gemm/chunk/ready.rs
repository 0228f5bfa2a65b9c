//! Prepares a chunk, in portable Rust.

use super::{MOST_GROUPS, Numbers, Pairs, Places, Source};
use crate::cpu::PANEL;
use crate::cpu::gemm::superblock::{STEP, SUM_STEP};
use crate::cpu::packed::{BLOCK_CODES, Scales};

/// Bytes of the lower bits of a block's codes.
const HALF_CODES: usize = BLOCK_CODES / 2;

#[inline(always)]
pub(super) fn ready(source: &Source<'_>, to: &mut Places) {
    let (format, header) = (source.format, source.header());
    if format.is_factored() {
        scaled_halves(header, STEP, &mut to.factors);
    }
    if format.scales == Scales::Factored {
        scaled_halves(&header[PANEL * 2..], SUM_STEP, &mut to.min_factors);
    }
    for (group, block) in source.blocks().take(MOST_GROUPS).enumerate() {
        let (codes, stored) = block.split_at(format.code_bytes());
        match format.scales {
            Scales::Half => halves(stored, &mut to.scales[group]),
            Scales::HalfMin => {
                halves(stored, &mut to.scales[group]);
                halves(&stored[PANEL * 2..], &mut to.mins[group]);
            }
            Scales::Factored if group % 2 == 0 => {
                pairs(stored, i16::from, &mut to.scale_pairs[group / 2]);
            }
            Scales::Factored => pairs(stored, i16::from, &mut to.min_pairs[group / 2]),
            Scales::Sixteens => {
                pairs(stored, |byte| i16::from(byte as i8), &mut to.scale_pairs[group]);
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
    // 2^112 is the difference of the exponents' biases. Subnormal f16 numbers come out right as well.
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    for (to, half) in to.iter_mut().zip(packed.chunks_exact(2)) {
        let bits = u32::from(u16::from_le_bytes([half[0], half[1]]));
        let magnitude = f32::from_bits((bits & 0x7fff) << 13) * SCALE;
        *to = f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16);
    }
}

/// Finite f16 numbers times a power of two.
#[inline(always)]
fn scaled_halves(packed: &[u8], scale: f32, to: &mut Numbers) {
    halves(packed, to);
    to.iter_mut().for_each(|number| *number *= scale);
}

#[inline(always)]
fn pairs(packed: &[u8], number: impl Fn(u8) -> i16, to: &mut Pairs) {
    for (to, bytes) in to.iter_mut().zip(packed.as_chunks::<2>().0) {
        *to = [number(bytes[0]), number(bytes[1])];
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
