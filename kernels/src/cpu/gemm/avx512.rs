//! The integer tile with AVX-512 VNNI: `vpdpbusd` multiplies 64 weight codes (unsigned) with broadcast activation
//! codes (signed) and adds groups of four exactly.
//!
//! ```text
//! gemv.rs         up to 8 or 18 rows, directly from the panel
//! gemm.rs         more rows, from chunks prepared by ready.rs
//! superblocks.rs  both for K-quants' superblocks
//! blocks.rs       loads the contents of blocks into registers
//! instructions.rs assembly text for tiles of many rows
//! ```

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths are checked on entry.

#[macro_use]
mod instructions;
mod blocks;
mod gemm;
mod gemv;
mod ready;
mod superblocks;

pub(super) use gemm::add;
pub(super) use gemv::gemv;
pub(super) use ready::ready;
pub(super) use superblocks::add as add_superblock;

use std::arch::x86_64::{__m512, _mm512_loadu_ps, _mm512_storeu_ps};

use super::QuantView;
use super::chunk::Numbers;
use crate::cpu::TILE_ROWS;
use crate::cpu::packed::Format;
use crate::cpu::quantise::ScaleKind;

/// Whether a product is too small for preparing chunks to pay off: one of few tiles.
pub(super) fn is_for_gemv(rows: usize, format: Format) -> bool {
    rows <= if format.is_factored() { 2 * superblocks::MOST_ROWS } else { 3 * TILE_ROWS }
}

/// Whether a product is large enough for the scales' variants to pay off.
pub(super) fn pays_variants(rows: &QuantView<'_>, format: Format) -> bool {
    rows.count >= 10 * TILE_ROWS && rows.scales != ScaleKind::Exact && !format.is_factored()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(numbers: &Numbers) -> [__m512; 2] {
    // SAFETY: there are 32 floats.
    unsafe { [_mm512_loadu_ps(numbers.as_ptr()), _mm512_loadu_ps(numbers.as_ptr().add(16))] }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(floats: &[__m512; 2], to: &mut Numbers) {
    // SAFETY: there are 32 floats.
    unsafe {
        _mm512_storeu_ps(to.as_mut_ptr(), floats[0]);
        _mm512_storeu_ps(to.as_mut_ptr().add(16), floats[1]);
    }
}
