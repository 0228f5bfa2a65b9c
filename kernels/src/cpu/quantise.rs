//! Rounds activations to 8-bit codes, with one scale for 32 elements.
//!
//! Scales are rounded up to numbers that save multiplications in the kernels ([`ScaleKind`]).

#![allow(unsafe_code)] // Calls functions whose features were detected.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::gemm::{Group, QuantRow, SUPERBLOCK};
use super::rows::ROUND;
use super::{GROUP, SimdLevel, at_level};

/// Groups whose greatest magnitude is at most this count as zeros: the inverse of their scale would be infinite.
const TINIEST: f32 = 1e-36;

/// Bits of a short scale's mantissa after the leading one.
pub(super) const MANTISSA_BITS: u32 = 4;

/// The sign of a float.
const SIGN: u32 = 1 << 31;

/// Which scales groups may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ScaleKind {
    /// Any float.
    Exact,
    /// 1, 1 1/16 ... 1 15/16 times a power of two, for kernels that read products of scales from a table. Codes lose a
    /// thirtieth of a bit on average.
    #[default]
    Short,
    /// Powers of two or, in superblocks that are quantised as a whole, powers of two times one short number, for
    /// kernels that sum superblocks in integers. Codes lose half a bit on average; for whole superblocks, the greatest
    /// group loses only a thirtieth.
    Power,
}

// === impl ScaleKind ===

impl ScaleKind {
    /// The kind that suits all products of an input, given what each of them requires.
    pub fn for_all(wanted: impl IntoIterator<Item = ScaleKind>) -> ScaleKind {
        let mut wanted = wanted.into_iter();
        if wanted.any(|kind| kind == ScaleKind::Power) {
            ScaleKind::Power
        } else {
            ScaleKind::Short
        }
    }

    /// The bits of a float that are zero in scales of this kind.
    fn unused_bits(self) -> u32 {
        let mantissa_bits = match self {
            ScaleKind::Exact => 23,
            ScaleKind::Short => MANTISSA_BITS,
            ScaleKind::Power => 0,
        };
        (1 << (23 - mantissa_bits)) - 1
    }
}

/// Rounds a row to 8-bit codes, with one scale for 32 elements: the smallest of the row's kind for which the greatest
/// magnitude is at most 127 steps. Ties go to even. A group with an element that is not finite gets a
/// scale that is not finite.
pub fn quantise(level: SimdLevel, x: &[f32], row: QuantRow<'_>) {
    assert!(row.codes.len() == x.len() && row.groups.len() * GROUP == x.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected, and the lengths fit.
        SimdLevel::Avx512Vnni => unsafe { avx512::quantise(x, row) },
        _ => at_level!(level, quantise_body, (x: &[f32], row: QuantRow<'_>)),
    }
}

/// The same for whole superblocks: the greatest scale is a short one, and the others are that one times powers of two.
pub fn quantise_superblocks(level: SimdLevel, x: &[f32], row: QuantRow<'_>) {
    assert!(row.codes.len() == x.len() && row.groups.len() * GROUP == x.len());
    assert!(x.len().is_multiple_of(SUPERBLOCK));
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected, and the lengths fit.
        SimdLevel::Avx512Vnni => unsafe { avx512::quantise_superblocks(x, row) },
        _ => at_level!(level, quantise_superblocks_body, (x: &[f32], row: QuantRow<'_>)),
    }
}

/// A group's scale, and the inverse that makes codes, from the bits of its greatest magnitude. (Magnitudes compare like
/// their bits, and NaN is the greatest.) In its unused bits, the scale's mantissa equals `mantissa`.
#[inline(always)]
fn scale_of(greatest: u32, unused: u32, mantissa: u32) -> [f32; 2] {
    let step = f32::from_bits(greatest) / 127.0;
    let beyond = step.to_bits().saturating_sub(mantissa);
    let up = f32::from_bits(((beyond + unused) & !unused) + mantissa);
    let scale = if step.is_finite() { up } else { step };
    [scale, if f32::from_bits(greatest) > TINIEST { 1.0 / scale } else { 0.0 }]
}

/// The bits of the greatest magnitude.
#[inline(always)]
fn greatest_of(x: &[f32]) -> u32 {
    x.iter().fold(0, |greatest: u32, x| greatest.max(x.to_bits() & !SIGN))
}

#[inline(always)]
#[allow(clippy::needless_pass_by_value)] // A row is some borrowed slices.
fn quantise_body(x: &[f32], row: QuantRow<'_>) {
    let unused = row.scales.unused_bits();
    let groups = row.codes.as_chunks_mut().0.iter_mut().zip(row.groups);
    for (x, (codes, group)) in x.as_chunks().0.iter().zip(groups) {
        *group = encode(x, scale_of(greatest_of(x), unused, 0), codes);
    }
}

#[inline(always)]
#[allow(clippy::needless_pass_by_value)] // As above.
fn quantise_superblocks_body(x: &[f32], row: QuantRow<'_>) {
    let unused = ScaleKind::Power.unused_bits();
    let mut groups = row.codes.as_chunks_mut().0.iter_mut().zip(row.groups);
    for x in x.chunks_exact(SUPERBLOCK) {
        let [greatest, _] = scale_of(greatest_of(x), ScaleKind::Short.unused_bits(), 0);
        let mantissa = if greatest.is_finite() { greatest.to_bits() & unused } else { 0 };
        for (x, (codes, group)) in x.as_chunks().0.iter().zip(&mut groups) {
            *group = encode(x, scale_of(greatest_of(x), unused, mantissa), codes);
        }
    }
}

#[inline(always)]
fn encode(x: &[f32; GROUP], [scale, inverse]: [f32; 2], codes: &mut [i8; GROUP]) -> Group {
    for (code, x) in codes.iter_mut().zip(x) {
        // The low bits of a float near 1.5 * 2^23 are the rounded integer.
        *code = x.mul_add(inverse, ROUND).to_bits() as i8;
    }
    let sums = [0, 16].map(|half| codes[half..half + 16].iter().map(|&c| i32::from(c)).sum());
    Group::new(scale, sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::gemm::QuantRows;

    const KINDS: [ScaleKind; 3] = [ScaleKind::Exact, ScaleKind::Short, ScaleKind::Power];

    fn run(level: SimdLevel, scales: ScaleKind, x: &[f32]) -> QuantRows {
        let mut rows = QuantRows::default();
        rows.resize(1, x.len(), scales);
        quantise(level, x, rows.all_mut());
        rows
    }

    #[test]
    fn every_level_gives_the_portable_bits() {
        let mut x: Vec<f32> = (0..576).map(|i| ((i * 7919) % 1000) as f32 / 250.0 - 2.0).collect();
        x[40] = f32::NAN;
        x[70] = f32::NEG_INFINITY;
        x[96..128].fill(1e-38);
        let bits = |level: SimdLevel, scales: ScaleKind| {
            let QuantRows { codes, groups, .. } = run(level, scales, &x);
            let facts = groups.iter().map(|group| {
                let floats = [group.scale, group.scaled_sum].map(|float| float.to_bits() & !SIGN);
                (floats, group.sums)
            });
            (codes, facts.collect::<Vec<_>>())
        };
        for scales in KINDS {
            for level in SimdLevel::available() {
                assert_eq!(bits(level, scales), bits(SimdLevel::Portable, scales), "{level:?}");
            }
        }
    }

    #[test]
    fn every_level_gives_the_portable_bits_for_every_number_of_groups() {
        for groups in 1..=37 {
            let number = |i: usize| ((i * 7919 + groups) % 1000) as f32 / 250.0 - 2.0;
            let x: Vec<f32> = (0..groups * GROUP).map(number).collect();
            for scales in KINDS {
                let expected = run(SimdLevel::Portable, scales, &x);
                for level in SimdLevel::available() {
                    let QuantRows { codes, groups, .. } = run(level, scales, &x);
                    assert_eq!((&codes, &groups), (&expected.codes, &expected.groups));
                }
            }
        }
    }

    #[test]
    fn codes_times_scale_are_within_half_a_step() {
        for scales in KINDS {
            check_steps(scales);
        }
    }

    fn check_steps(scales: ScaleKind) {
        let x: Vec<f32> = (0..64).map(|i| ((i * 37) % 64) as f32 - 31.5).collect();
        let QuantRows { codes, groups, .. } = run(SimdLevel::detect(), scales, &x);
        for (at, (&x, &code)) in x.iter().zip(&codes).enumerate() {
            let scale = groups[at / GROUP].scale;
            assert!((x - scale * f32::from(code)).abs() <= scale * 0.5001);
        }
        let total: i32 = codes.iter().map(|&code| i32::from(code)).sum();
        assert_eq!(groups.iter().flat_map(|group| group.sums).sum::<i32>(), total);
    }

    #[test]
    fn scales_have_no_more_bits_than_their_kind_and_are_not_twice_the_least_one() {
        let x: Vec<f32> = (0..1024).map(|i| ((i * 37) % 64) as f32 * i as f32 - 31.5).collect();
        let exact = run(SimdLevel::detect(), ScaleKind::Exact, &x);
        for (scales, unused) in [(ScaleKind::Short, 19), (ScaleKind::Power, 23)] {
            let groups = run(SimdLevel::detect(), scales, &x).groups;
            for (group, exact) in groups.iter().zip(&exact.groups) {
                assert!(group.scale.to_bits().trailing_zeros() >= unused, "{}", group.scale);
                assert!((exact.scale..exact.scale * 2.0).contains(&group.scale));
            }
        }
    }

    #[test]
    fn superblocks_share_a_mantissa_at_every_level() {
        let odd = [f32::NAN, f32::INFINITY, 0.0, 1e-38, 2e-36, 1e30];
        for blocks in 1..=5 {
            let mut x: Vec<f32> =
                (0..blocks * SUPERBLOCK).map(|i| ((i * 7919) % 1009) as f32 * i as f32).collect();
            for (place, odd) in odd.into_iter().enumerate().take(blocks) {
                x[place * SUPERBLOCK + 40..][..40].fill(odd);
            }
            let shared = |level: SimdLevel| {
                let mut rows = QuantRows::default();
                rows.resize(1, x.len(), ScaleKind::Power);
                quantise_superblocks(level, &x, rows.all_mut());
                rows
            };
            let expected = shared(SimdLevel::Portable);
            let bits = |rows: &QuantRows| {
                let facts =
                    rows.groups.iter().map(|group| (group.scale.to_bits() & !SIGN, group.sums));
                (rows.codes.clone(), facts.collect::<Vec<_>>())
            };
            for level in SimdLevel::available() {
                assert!(bits(&shared(level)) == bits(&expected), "{blocks} {level:?}");
            }
            let short = run(SimdLevel::Portable, ScaleKind::Short, &x);
            let all = expected.groups.chunks(8).zip(short.groups.chunks(8)).zip(x.chunks(256));
            for ((groups, short), x) in all.filter(|(_, x)| x.iter().all(|x| x.is_finite())) {
                let greatest =
                    |groups: &[Group]| groups.iter().map(|group| group.scale).fold(0.0, f32::max);
                assert_eq!(greatest(groups), greatest(short));
                let normal = groups.iter().filter(|group| group.scale > 1e-37);
                let mantissas = normal.map(|group| group.scale.to_bits() & 0x7f_ffff);
                assert!(mantissas.collect::<std::collections::BTreeSet<_>>().len() <= 1, "{x:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_or_not_finite_leaves_no_finite_scale() {
        for odd in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
            for level in SimdLevel::available() {
                for place in [0, 17, 31] {
                    let mut x = [1.0; 32];
                    x[place] = odd;
                    for scales in KINDS {
                        let scale = run(level, scales, &x).groups[0].scale;
                        assert!(!scale.is_finite(), "{level:?} {odd}");
                    }
                }
            }
        }
    }

    #[test]
    fn zeros_and_tiny_groups_quantise_to_zeros() {
        for tiny in [0.0, 1e-38] {
            for level in SimdLevel::available() {
                let rows = run(level, ScaleKind::Power, &[tiny; 32]);
                assert!(rows.codes.iter().all(|&code| code == 0) && rows.groups[0].sums == [0, 0]);
            }
        }
    }
}
