//! Weighted sums of stored values: 16-bit weights times 8-bit values, exactly.
//!
//! Weights come as two planes of bytes, `weight = 256 * high + low`, and each plane has its own sums. Integer sums do
//! not depend on their order: however tokens are divided into pages, and rows into tiles, the result is the same.
//!
//! Values are stored in quads: for every 4 tokens, each element's 4 bytes are adjacent. With at most 65,536 tokens no
//! sum exceeds 32 bits (255 * 127 * 65,536 < 2^31); with more tokens, sums are carried over to 64 bits in time.

#![allow(unsafe_code)] // Calls functions whose features were detected.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::{LANES, SimdLevel, TILE_ROWS, at_level};

/// Tokens whose bytes are adjacent.
pub const QUAD: usize = 4;

/// Number of tokens whose sums always fit in 32 bits.
pub const MOST_SUMMED: usize = 65_536;

/// The contribution of some pages to the sums of some rows, which see all of them.
#[derive(Debug)]
pub struct WeightedValues<'a> {
    /// The pages whose values are added.
    pub pages: &'a [PageValues<'a>],
    /// Elements of a value, a multiple of 16.
    pub size: usize,
    /// The high and the low bytes of the weights, by position; rows are `stride` apart. Three bytes past a page's
    /// tokens must be readable.
    pub weights: [&'a [u8]; 2],
    /// Bytes from one row of weights to the next.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
    /// rows x 2 planes x elements.
    pub sums: &'a mut [i32],
}

/// The values of a page's tokens.
#[derive(Debug, Clone, Copy)]
pub struct PageValues<'a> {
    /// Quads of tokens x elements x 4 signed bytes.
    pub codes: &'a [u8],
    /// Number of tokens that count, starting with the page's first.
    pub tokens: usize,
    /// Position of the first one in a row of weights.
    pub position: usize,
}

/// Adds `sum over tokens of weight * value` to the sums.
pub fn add_weighted(level: SimdLevel, mut work: WeightedValues<'_>) {
    work.check();
    match level {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx2 | SimdLevel::AvxVnni => work.each_page(avx2::add_weighted),
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512Vnni => avx512::add_weighted(&mut work),
        #[cfg(target_arch = "aarch64")]
        SimdLevel::Neon => work.each_page(neon::add_weighted),
        SimdLevel::Portable => work.each_page(portable),
    }
}

/// The same for sums over any number of tokens: `work.sums` must be 0 and is 0 afterwards, and the results are added to
/// `sums`.
pub fn add_weighted_long(level: SimdLevel, work: WeightedValues<'_>, sums: &mut [i64]) {
    let WeightedValues { mut pages, size, weights, stride, rows, sums: narrow } = work;
    let longest = pages.iter().map(|page| page.tokens).max().unwrap_or(0).max(1);
    let at_once = (MOST_SUMMED / longest).max(1);
    while !pages.is_empty() {
        let (now, later) = pages.split_at(at_once.min(pages.len()));
        let work = WeightedValues { pages: now, size, weights, stride, rows, sums: &mut *narrow };
        add_weighted(level, work);
        for (sum, narrow) in sums.iter_mut().zip(&mut narrow[..rows * 2 * size]) {
            *sum += i64::from(std::mem::take(narrow));
        }
        pages = later;
    }
}

/// The sums of one row, `high` and `low` plane, as floats: `(256 * high + low) * factor`.
pub fn finish(level: SimdLevel, sums: &[i32], factor: f32, out: &mut [f32]) {
    let (high, low) = sums.split_at(out.len());
    at_level!(level, finish_body, (high: &[i32], low: &[i32], factor: f32, out: &mut [f32]));
}

/// The same for [`add_weighted_long`]; sums that fit in 32 bits give the same bits as [`finish`].
pub fn finish_long(level: SimdLevel, sums: &[i64], factor: f32, out: &mut [f32]) {
    let (high, low) = sums.split_at(out.len());
    at_level!(level, finish_long_body, (high: &[i64], low: &[i64], factor: f32, out: &mut [f32]));
}

#[inline(always)]
fn finish_long_body(high: &[i64], low: &[i64], factor: f32, out: &mut [f32]) {
    for ((out, &high), &low) in out.iter_mut().zip(high).zip(low) {
        *out = (high as f32 * 256.0 + low as f32) * factor;
    }
}

#[inline(always)]
fn finish_body(high: &[i32], low: &[i32], factor: f32, out: &mut [f32]) {
    for ((out, &high), &low) in out.iter_mut().zip(high).zip(low) {
        *out = (high as f32 * 256.0 + low as f32) * factor;
    }
}

// === impl WeightedValues ===

impl WeightedValues<'_> {
    /// Checks that all accesses of the kernels are inside the slices.
    fn check(&self) {
        assert!(self.size.is_multiple_of(LANES), "elements come in whole registers");
        assert!(self.sums.len() >= self.rows * 2 * self.size);
        for page in self.pages {
            let tokens = page.tokens.next_multiple_of(QUAD);
            assert!(page.codes.len() >= tokens * self.size);
            let last = self.rows.saturating_sub(1) * self.stride + page.position + tokens;
            assert!(self.rows == 0 || self.weights.iter().all(|plane| plane.len() >= last));
        }
    }

    /// For levels that add one page after the other.
    fn each_page(&mut self, add: impl Fn(&mut Self, &PageValues<'_>)) {
        self.pages.iter().for_each(|page| add(self, page));
    }

    /// The weights of a row's quad of a page in a plane; 0 for tokens that do not count.
    fn quad(&self, page: &PageValues<'_>, plane: usize, row: usize, quad: usize) -> [u8; QUAD] {
        let at = row * self.stride + page.position + quad * QUAD;
        let mut bytes = [0; QUAD];
        let counted = QUAD.min(page.tokens - quad * QUAD);
        bytes[..counted].copy_from_slice(&self.weights[plane][at..at + counted]);
        bytes
    }
}

/// Maximum rows computed together.
const ROWS: usize = TILE_ROWS;

fn portable(work: &mut WeightedValues<'_>, page: &PageValues<'_>) {
    for row in 0..work.rows {
        for plane in 0..2 {
            for quad in 0..page.tokens.div_ceil(QUAD) {
                let weights = work.quad(page, plane, row, quad).map(i32::from);
                let sums = &mut work.sums[(row * 2 + plane) * work.size..][..work.size];
                let values = page.codes[quad * QUAD * work.size..].chunks_exact(QUAD);
                for (sum, values) in sums.iter_mut().zip(values) {
                    for (weight, &value) in weights.iter().zip(values) {
                        *sum += weight * i32::from(value as i8);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(level: SimdLevel, rows: usize, tokens: usize, size: usize, cut: usize) -> Vec<i32> {
        let quads = tokens.div_ceil(QUAD);
        let byte = |index: usize, salt: usize| (((index * 7919 + salt) * 104_729) >> 7) as u8;
        let stride = tokens + QUAD;
        let values: Vec<u8> = (0..quads * QUAD * size).map(|i| byte(i, 1)).collect();
        let planes: Vec<Vec<u8>> =
            (0..2).map(|plane| (0..rows * stride).map(|i| byte(i, 9 + plane)).collect()).collect();
        let mut sums = vec![0; rows * 2 * size];
        let pages = [0..cut, cut..tokens].map(|tokens| PageValues {
            codes: &values[tokens.start * size..],
            tokens: tokens.len(),
            position: tokens.start,
        });
        let weights = [planes[0].as_slice(), &planes[1]];
        let sums_to = &mut sums;
        add_weighted(
            level,
            WeightedValues { pages: &pages, size, weights, stride, rows, sums: sums_to },
        );
        sums
    }

    #[test]
    fn every_level_and_every_cut_gives_the_portable_sums() {
        for (rows, tokens, size) in
            [(1, 1, 16), (3, 64, 64), (7, 33, 80), (6, 30, 128), (13, 5, 32)]
        {
            let expected = run(SimdLevel::Portable, rows, tokens, size, 0);
            assert!(expected.iter().any(|&sum| sum != 0));
            for level in SimdLevel::available() {
                for cut in [0, 4.min(tokens / 4 * 4), tokens / 8 * 4] {
                    let sums = run(level, rows, tokens, size, cut);
                    assert_eq!(sums, expected, "{level:?}, {rows} x {tokens} x {size}, cut {cut}");
                }
            }
        }
    }

    #[test]
    fn weights_without_high_bytes_add_the_same() {
        let (rows, tokens, size, stride) = (8, 70, 48, 76);
        let values: Vec<u8> = (0..72 * size).map(|i| ((i * 7919) >> 3) as u8).collect();
        let low: Vec<u8> = (0..rows * stride).map(|i| ((i * 104_729) >> 5) as u8).collect();
        // Bytes past a row's tokens do not count. The only one that does is in the last row, on the second page.
        let mut high: Vec<u8> =
            (0..rows * stride).map(|i| u8::from(i % stride >= tokens)).collect();
        for counted in [0, 3] {
            high[7 * stride + 69] = counted;
            let run = |level: SimdLevel| {
                let mut sums = vec![1; rows * 2 * size];
                let weights = [high.as_slice(), low.as_slice()];
                let pages = [(0, 64), (64, 6)].map(|(position, tokens)| PageValues {
                    codes: &values[position * size..],
                    tokens,
                    position,
                });
                let sums_to = sums.as_mut_slice();
                let work =
                    WeightedValues { pages: &pages, size, weights, stride, rows, sums: sums_to };
                add_weighted(level, work);
                sums
            };
            for level in SimdLevel::available() {
                assert_eq!(run(level), run(SimdLevel::Portable), "{level:?}");
            }
        }
    }

    #[test]
    fn many_short_pages_add_the_same_as_one() {
        let (rows, size, tokens) = (7, 32, 4 * 150);
        let codes: Vec<u8> = (0..tokens * size).map(|i| ((i * 7919) >> 3) as u8).collect();
        let plane: Vec<u8> = (0..rows * tokens).map(|i| ((i * 104_729) >> 5) as u8).collect();
        let run = |level: SimdLevel, length: usize| {
            let page = |position: usize| PageValues {
                codes: &codes[position * size..],
                tokens: length,
                position,
            };
            let pages: Vec<PageValues<'_>> = (0..tokens).step_by(length).map(page).collect();
            let mut sums = vec![0; rows * 2 * size];
            let (weights, stride) = ([plane.as_slice(); 2], tokens);
            let sums_to = sums.as_mut_slice();
            let work = WeightedValues { pages: &pages, size, weights, stride, rows, sums: sums_to };
            add_weighted(level, work);
            sums
        };
        for level in SimdLevel::available() {
            assert_eq!(run(level, 4), run(SimdLevel::Portable, tokens), "{level:?}");
        }
    }

    #[test]
    fn sums_of_more_tokens_than_32_bits_hold_are_exact() {
        let (size, length, rows) = (16, 64, 3);
        let tokens = 3 * MOST_SUMMED;
        let codes = vec![127; length * size];
        let plane = vec![255; rows * tokens + QUAD];
        let page = |position| PageValues { codes: &codes, tokens: length, position };
        let pages: Vec<PageValues<'_>> = (0..tokens).step_by(length).map(page).collect();
        for level in SimdLevel::available() {
            let (mut narrow, mut sums) = (vec![0; rows * 2 * size], vec![0; rows * 2 * size]);
            let weights = [plane.as_slice(); 2];
            let (sums_to, stride) = (narrow.as_mut_slice(), tokens);
            let work = WeightedValues { pages: &pages, size, weights, stride, rows, sums: sums_to };
            add_weighted_long(level, work, &mut sums);
            let exact = 255 * 127 * tokens as i64;
            assert!(sums.iter().all(|&sum| sum == exact) && narrow.iter().all(|&sum| sum == 0));
            let mut out = [0.0; 16];
            finish_long(level, &sums[..32], 1.0 / (257.0 * 255.0 * 127.0), &mut out);
            assert!(out.iter().all(|out| (out / tokens as f32 - 1.0).abs() < 1e-6), "{out:?}");
        }
    }

    #[test]
    fn sums_that_fit_give_the_same_bits_in_64_bits() {
        let sums: Vec<i32> = (0..64u64)
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as i32 - (1 << 30))
            .collect();
        let long: Vec<i64> = sums.iter().copied().map(i64::from).collect();
        for level in SimdLevel::available() {
            let (mut out, mut same) = ([0.0; 32], [0.0; 32]);
            finish(level, &sums, 0.3, &mut out);
            finish_long(level, &long, 0.3, &mut same);
            assert_eq!(out.map(f32::to_bits), same.map(f32::to_bits), "{level:?}");
        }
    }

    #[test]
    fn tokens_past_the_last_weigh_nothing() {
        let weights = [255u8; 4];
        let mut sums = vec![0; 32];
        add_weighted(
            SimdLevel::detect(),
            WeightedValues {
                pages: &[PageValues { codes: &[1; 64], tokens: 1, position: 0 }],
                size: 16,
                weights: [&weights, &weights],
                stride: 4,
                rows: 1,
                sums: &mut sums,
            },
        );
        assert!(sums.iter().all(|&sum| sum == 255));
    }
}
