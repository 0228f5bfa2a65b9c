//! Loops that do only one kind of work, to find out how much of it this CPU can do.
//!
//! The instruction is chosen by the CPU's features, like those of the kernels: `vpdpbusd` on 64 or 32 bytes,
//! `vpmaddubsw` with `vpmaddwd`, `sdot`, or portable Rust that the compiler vectorises for the target's baseline. As in
//! a kernel, one operand comes from the first-level cache and the other from registers, and enough independent sums run
//! to hide each other's latency. Not guaranteed: that no code could be faster, if the instruction is portable Rust.

#![allow(unsafe_code)] // Intrinsics whose features were detected.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::hint::black_box;

use super::{SimdLevel, at_level};

/// Bytes of the operand in memory: well within the first-level cache.
const OPERAND_BYTES: usize = 4096;

/// The fastest way to compute 8-bit products on this CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// `vpdpbusd` on 64 bytes.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx512Vnni,
    /// `vpdpbusd` on 32 bytes.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    AvxVnni,
    /// `vpmaddubsw` on 32 bytes.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx2,
    /// `sdot` on 16 bytes.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    Neon,
    /// Portable Rust.
    Portable,
}

/// The fastest way to compute fused multiply-adds of 32-bit floats on this CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floats {
    /// 16 floats at once.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Avx512,
    /// 8 floats at once.
    #[cfg(target_arch = "x86_64")]
    #[non_exhaustive]
    Fma,
    /// 4 floats at once.
    #[cfg(target_arch = "aarch64")]
    #[non_exhaustive]
    Neon,
    /// Portable Rust.
    Portable,
}

/// The operand of the loops.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Operand([u8; OPERAND_BYTES]);

// === impl Integers ===

impl Integers {
    /// The fastest way on this CPU.
    pub fn detect() -> Integers {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                return Integers::Avx512Vnni;
            }
            if is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2") {
                return Integers::AvxVnni;
            }
            if is_x86_feature_detected!("avx2") {
                return Integers::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            return Integers::Neon;
        }
        Integers::Portable
    }

    /// Name of the instruction, for display.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Integers::Avx512Vnni => "vpdpbusd on 64 bytes",
            #[cfg(target_arch = "x86_64")]
            Integers::AvxVnni => "vpdpbusd on 32 bytes",
            #[cfg(target_arch = "x86_64")]
            Integers::Avx2 => "vpmaddubsw on 32 bytes",
            #[cfg(target_arch = "aarch64")]
            Integers::Neon => "sdot on 16 bytes",
            Integers::Portable => "portable",
        }
    }

    /// Multiplies and adds; returns the number of operations done (a multiply-add counts as two).
    pub fn work(self, operand: &Operand, passes: u64) -> u64 {
        match self {
            // SAFETY: the features were detected.
            #[cfg(target_arch = "x86_64")]
            Integers::Avx512Vnni => unsafe { x86::dot_512(operand, passes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Integers::AvxVnni => unsafe { x86::dot_256(operand, passes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Integers::Avx2 => unsafe { x86::maddubs_256(operand, passes) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Integers::Neon => unsafe { neon::dot(operand, passes) },
            Integers::Portable => portable_integers(operand, passes),
        }
    }
}

// === impl Floats ===

impl Floats {
    /// The fastest way on this CPU.
    pub fn detect() -> Floats {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Floats::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Floats::Fma;
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Floats::Neon;
        }
        Floats::Portable
    }

    /// Multiplies and adds; returns the number of operations done (a multiply-add counts as two).
    pub fn work(self, operand: &Operand, passes: u64) -> u64 {
        match self {
            // SAFETY: the features were detected.
            #[cfg(target_arch = "x86_64")]
            Floats::Avx512 => unsafe { x86::fma_512(operand, passes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Floats::Fma => unsafe { x86::fma_256(operand, passes) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Floats::Neon => unsafe { neon::fma(operand, passes) },
            Floats::Portable => portable_floats(operand, passes),
        }
    }
}

// === impl Operand ===

impl Operand {
    /// Bytes that are valid codes, and whose groups of four are valid, tiny floats.
    pub fn ones() -> Operand {
        Operand(black_box([1; OPERAND_BYTES]))
    }
}

/// Sums all words: the fastest way to read memory once.
pub fn read_all(level: SimdLevel, words: &[u64], sum: &mut u64) {
    at_level!(level, read_all_body, (words: &[u64], sum: &mut u64));
}

#[inline(always)]
fn read_all_body(words: &[u64], sum: &mut u64) {
    let mut sums = [0_u64; 64];
    let blocks = words.chunks_exact(64);
    let rest = blocks.remainder();
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(*word);
        }
    }
    *sum = sums.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word));
}

fn portable_integers(operand: &Operand, passes: u64) -> u64 {
    let with: [i8; 16] = black_box([3; 16]);
    let mut sums = [0_i32; 16];
    for _ in 0..passes {
        for codes in operand.0.as_chunks::<16>().0 {
            for lane in 0..16 {
                sums[lane] += i32::from(codes[lane]) * i32::from(with[lane]);
            }
        }
        // Keeps sums far from overflow, and keeps the compiler from merging the loops.
        sums = black_box([0; 16]);
    }
    black_box(sums);
    passes * OPERAND_BYTES as u64 * 2
}

fn portable_floats(operand: &Operand, passes: u64) -> u64 {
    let with: [f32; 16] = black_box([0.5; 16]);
    let mut sums = [[0.0_f32; 16]; 4];
    for _ in 0..passes {
        for block in operand.0.as_chunks::<64>().0 {
            let floats = block.as_chunks::<4>().0;
            for sums in &mut sums {
                for lane in 0..16 {
                    let float = f32::from_le_bytes(floats[lane]);
                    // Two instructions: if the target has no fused one, `mul_add` is a function call that takes
                    // hundreds.
                    sums[lane] += float * with[lane];
                }
            }
        }
    }
    black_box(sums);
    passes * (OPERAND_BYTES / 4) as u64 * 4 * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        for length in [0, 1, 63, 64, 65, 1_000] {
            let words: Vec<u64> = (0..length).collect();
            for level in SimdLevel::available() {
                let mut sum = 0;
                read_all(level, &words, &mut sum);
                assert_eq!(sum, (0..length).sum::<u64>(), "{length} words, {}", level.name());
            }
        }
    }

    #[test]
    fn work_counts_grow_with_the_passes() {
        let operand = Operand::ones();
        for passes in [1, 7] {
            let integers = Integers::detect().work(&operand, passes);
            assert_eq!(integers, passes * Integers::detect().work(&operand, 1));
            let floats = Floats::detect().work(&operand, passes);
            assert_eq!(floats, passes * Floats::detect().work(&operand, 1));
        }
    }
}
