//! The float product with AVX-512: tiles of up to six rows and four registers of sixteen columns.

#![allow(unsafe_code)] // Intrinsics on raw pointers into slices whose lengths `Product::check` has checked.

use std::arch::x86_64::{
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::Product;
use crate::cpu::{LANES, TILE_ROWS};

/// See [`super::product`].
pub(super) fn product(mut product: Product<'_>) {
    let mut row = 0;
    while row < product.rows {
        let left = product.rows - row;
        let rows = left.div_ceil(left.div_ceil(TILE_ROWS));
        // SAFETY: the level was detected; `check` has found all accesses of these rows inside the slices.
        unsafe {
            match rows {
                1 => row_tile::<1>(&mut product, row),
                2 => row_tile::<2>(&mut product, row),
                3 => row_tile::<3>(&mut product, row),
                4 => row_tile::<4>(&mut product, row),
                5 => row_tile::<5>(&mut product, row),
                _ => row_tile::<6>(&mut product, row),
            }
        }
        row += rows;
    }
}

/// # Safety
/// The CPU must support AVX-512F; `row + R <= rows`, and the product must be checked.
#[target_feature(enable = "avx512f")]
unsafe fn row_tile<const R: usize>(product: &mut Product<'_>, row: usize) {
    let mut column = 0;
    while column < product.columns {
        // SAFETY: `column` plus the tile's width stays within `columns`.
        unsafe {
            match (product.columns - column) / LANES {
                1 => {
                    tile::<R, 1>(product, row, column);
                    column += LANES;
                }
                2 | 3 => {
                    tile::<R, 2>(product, row, column);
                    column += 2 * LANES;
                }
                _ => {
                    tile::<R, 4>(product, row, column);
                    column += 4 * LANES;
                }
            }
        }
    }
}

/// # Safety
/// The CPU must support AVX-512F; rows `row .. row + R` and columns `column .. column + 16 * V` must be inside the
/// checked product.
#[target_feature(enable = "avx512f")]
unsafe fn tile<const R: usize, const V: usize>(
    product: &mut Product<'_>,
    row: usize,
    column: usize,
) {
    // SAFETY: by the caller's promise every access is one that `Product::check` has found inside.
    unsafe {
        let a = product.a.as_ptr().add(row * product.a_stride);
        let b = product.b.as_ptr().add(column);
        let c = product.c.as_mut_ptr().add(row * product.c_stride + column);
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        if product.accumulate {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(c.add(r * product.c_stride + v * LANES));
                }
            }
        }
        for inner in 0..product.inner {
            let mut line = [_mm512_setzero_ps(); V];
            for (v, register) in line.iter_mut().enumerate() {
                *register = _mm512_loadu_ps(b.add(inner * product.b_stride + v * LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(*a.add(r * product.a_stride + inner));
                for v in 0..V {
                    sums[v] = _mm512_fmadd_ps(factor, line[v], sums[v]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(c.add(r * product.c_stride + v * LANES), sum);
            }
        }
    }
}
