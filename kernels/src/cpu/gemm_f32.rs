//! Small float products: attention scores, weighted sums of values, matrices of float weights.
//!
//! `c[row][column] (+)= sum over inner of a[row][inner] * b[inner][column]`, as a sequence of fused multiply-adds in
//! ascending `inner`, starting from zero or from the contents of `c`. Splitting `inner` into pieces, or rows into
//! tiles, therefore does not change a bit.

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::{LANES, SimdLevel, TILE_ROWS, at_level};

/// One product. Strides are in floats.
#[derive(Debug)]
pub struct Product<'a> {
    /// Rows x inner.
    pub a: &'a [f32],
    /// Distance between rows of `a`.
    pub a_stride: usize,
    /// Inner x columns.
    pub b: &'a [f32],
    /// Distance between rows of `b`.
    pub b_stride: usize,
    /// Rows x columns.
    pub c: &'a mut [f32],
    /// Distance between rows of `c`.
    pub c_stride: usize,
    /// Rows of `a` and `c`.
    pub rows: usize,
    /// Terms of each sum.
    pub inner: usize,
    /// Columns of `b` and `c`, a multiple of 16.
    pub columns: usize,
    /// Whether to add to `c` rather than overwrite it.
    pub accumulate: bool,
}

/// Computes the product.
pub fn product(level: SimdLevel, product: Product<'_>) {
    product.check();
    match level {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512Vnni => avx512::product(product),
        _ => at_level!(level, portable, (product: Product<'_>)),
    }
}

// === impl Product ===

impl Product<'_> {
    /// Checks that all accesses of the kernels are inside the slices.
    fn check(&self) {
        let last =
            |rows: usize, stride: usize, width: usize| rows.saturating_sub(1) * stride + width;
        assert!(self.columns.is_multiple_of(LANES), "columns come in whole registers");
        assert!(self.rows == 0 || self.a.len() >= last(self.rows, self.a_stride, self.inner));
        assert!(self.inner == 0 || self.b.len() >= last(self.inner, self.b_stride, self.columns));
        assert!(self.rows == 0 || self.c.len() >= last(self.rows, self.c_stride, self.columns));
    }
}

#[inline(always)]
fn portable(mut product: Product<'_>) {
    let mut row = 0;
    while row < product.rows {
        match product.rows - row {
            1 => portable_tile::<1>(&mut product, row),
            2 | 3 => portable_tile::<2>(&mut product, row),
            _ => portable_tile::<4>(&mut product, row),
        }
        row += match product.rows - row {
            1 => 1,
            2 | 3 => 2,
            _ => 4,
        };
    }
}

#[inline(always)]
fn portable_tile<const R: usize>(product: &mut Product<'_>, row: usize) {
    const { assert!(R <= TILE_ROWS) };
    for column in (0..product.columns).step_by(LANES) {
        let mut sums = [[0.0f32; LANES]; R];
        if product.accumulate {
            for (index, sums) in sums.iter_mut().enumerate() {
                sums.copy_from_slice(
                    &product.c[(row + index) * product.c_stride + column..][..LANES],
                );
            }
        }
        for inner in 0..product.inner {
            let b = &product.b[inner * product.b_stride + column..][..LANES];
            for (index, sums) in sums.iter_mut().enumerate() {
                let a = product.a[(row + index) * product.a_stride + inner];
                for lane in 0..LANES {
                    sums[lane] = a.mul_add(b[lane], sums[lane]);
                }
            }
        }
        for (index, sums) in sums.iter().enumerate() {
            product.c[(row + index) * product.c_stride + column..][..LANES].copy_from_slice(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudo(count: usize, salt: u32) -> Vec<f32> {
        let mut state = salt;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn run(level: SimdLevel, rows: usize, inner: usize, columns: usize, cut: usize) -> Vec<u32> {
        let (a, b) = (pseudo(rows * inner, 1), pseudo(inner * columns, 2));
        let mut c = vec![0.0; rows * columns];
        for (accumulate, range) in [(false, 0..cut), (true, cut..inner)] {
            product(
                level,
                Product {
                    a: &a[range.start..],
                    a_stride: inner,
                    b: &b[range.start * columns..],
                    b_stride: columns,
                    c: &mut c,
                    c_stride: columns,
                    rows,
                    inner: range.len(),
                    columns,
                    accumulate,
                },
            );
        }
        c.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn every_level_and_every_cut_gives_the_portable_bits() {
        for (rows, inner, columns) in [(1, 64, 64), (7, 33, 80), (13, 5, 16), (4, 128, 112)] {
            let expected = run(SimdLevel::Portable, rows, inner, columns, inner);
            for level in SimdLevel::available() {
                for cut in [0, 1, inner / 2, inner] {
                    assert_eq!(run(level, rows, inner, columns, cut), expected, "{level:?} {cut}");
                }
            }
        }
    }
}
