//! Writes one token's key and value into its slot of a page.

use std::sync::atomic::{AtomicU8, Ordering};

use half::f16;

use super::PageLayout;
use jury_kernels::cpu::hadamard::hadamard;
use jury_kernels::cpu::rows::{encode, greatest_magnitude};
use jury_kernels::cpu::values::QUAD;
use jury_kernels::cpu::{GROUP, PANEL, SimdLevel};

/// Offset of a key's codes, so that they are unsigned like those of weights.
pub(super) const KEY_OFFSET: u8 = 128;
/// The greatest magnitude of a code.
const STEPS: f32 = 127.0;

/// Where a token's key or value is written.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub(crate) page: &'a [AtomicU8],
    pub(crate) layout: PageLayout,
    pub(crate) layer: usize,
    pub(crate) head: usize,
    /// Index of the token in its page.
    pub(crate) slot: usize,
}

/// Stores a key of one head, after transforming it (see `hadamard.rs`).
pub(crate) fn store_key(level: SimdLevel, to: Slot<'_>, key: &mut [f32]) {
    hadamard(level, key);
    let Slot { page, layout, slot, .. } = to;
    let (panel, column) = (slot / PANEL, slot % PANEL);
    let start = layout.keys(to.layer, to.head).start + panel * layout.panel_bytes();
    let block_bytes = PageLayout::KEYS.block_bytes();
    for (index, group) in key.chunks_exact(GROUP).enumerate() {
        let block = start + index * block_bytes;
        let scale = f16::from_f32(greatest(level, group) / STEPS);
        let mut codes = [0; GROUP];
        encode(level, group, inverse(scale.to_f32()), &mut codes);
        for (quad, codes) in codes.as_chunks::<QUAD>().0.iter().enumerate() {
            let at = block + (quad * PANEL + column) * QUAD;
            store(page, at, codes.map(|code| code as u8 ^ KEY_OFFSET));
        }
        let at = block + PageLayout::KEYS.code_bytes() + column * 2;
        store(page, at, scale.to_le_bytes());
    }
}

/// Stores a value of one head, after transforming it.
pub(crate) fn store_value(level: SimdLevel, to: Slot<'_>, value: &mut [f32]) {
    hadamard(level, value);
    let Slot { page, layout, slot, .. } = to;
    let scale = greatest(level, value) / STEPS;
    let inverse = inverse(scale);
    let start = layout.values(to.layer, to.head).start + slot / QUAD * QUAD * layout.value_size;
    let mut codes = [0; GROUP];
    for (index, group) in value.chunks_exact(GROUP).enumerate() {
        encode(level, group, inverse, &mut codes);
        for (element, &code) in codes.iter().enumerate() {
            let at = start + (index * GROUP + element) * QUAD + slot % QUAD;
            store(page, at, [code as u8]);
        }
    }
    let at = layout.value_scales(to.layer, to.head).start + slot * 4;
    store(page, at, scale.to_le_bytes());
}

#[inline(always)]
fn store<const N: usize>(page: &[AtomicU8], at: usize, bytes: [u8; N]) {
    for (to, byte) in page[at..at + N].iter().zip(bytes) {
        to.store(byte, Ordering::Relaxed);
    }
}

/// The greatest finite magnitude, for values that contain an infinity.
fn greatest(level: SimdLevel, values: &[f32]) -> f32 {
    greatest_magnitude(level, values).min(f32::MAX)
}

fn inverse(scale: f32) -> f32 {
    if scale > 0.0 && scale.is_finite() { 1.0 / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::model::kv::PAGE_TOKENS;
    use jury_kernels::cpu::gemm::{Outputs, PanelGemm, QuantRows, Workspace};
    use jury_kernels::cpu::hadamard::block_length;
    use jury_kernels::cpu::quantise::{ScaleKind, quantise};

    const LAYOUT: PageLayout = PageLayout { kv_heads: 2, key_size: 64, value_size: 32 };

    const LEVEL: SimdLevel = SimdLevel::Portable;

    fn page(layers: usize) -> Vec<AtomicU8> {
        (0..LAYOUT.bytes_per_token(layers) * PAGE_TOKENS).map(|_| AtomicU8::new(0)).collect()
    }

    fn read(page: &[AtomicU8], range: Range<usize>) -> Vec<u8> {
        page[range].iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    fn at<'a>(page: &'a [AtomicU8], layer: usize, head: usize, slot: usize) -> Slot<'a> {
        Slot { page, layout: LAYOUT, layer, head, slot }
    }

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + salt * 31) % 1000) as f32 / 500.0 - 1.0).collect()
    }

    #[test]
    fn keys_are_the_outputs_of_a_matrix() {
        let page = page(2);
        for slot in 0..PAGE_TOKENS {
            store_key(LEVEL, at(&page, 1, 1, slot), &mut numbers(64, slot));
        }
        let query = numbers(64, 5);
        let mut transformed = query.clone();
        hadamard(LEVEL, &mut transformed);
        let mut rows = QuantRows::default();
        rows.resize(1, 64, ScaleKind::Short);
        quantise(LEVEL, &transformed, rows.all_mut());
        let keys = read(&page, LAYOUT.keys(1, 1));
        let mut out = [0.0; PANEL];
        for (panel, keys) in keys.chunks_exact(LAYOUT.panel_bytes()).enumerate() {
            let product = PanelGemm {
                format: PageLayout::KEYS,
                panel: keys,
                rows: rows.view(),
                prefetch: &[],
            };
            let outputs = Outputs { floats: &mut out, stride: PANEL };
            product.compute(SimdLevel::detect(), &mut Workspace::default(), outputs);
            for (column, &score) in out.iter().enumerate() {
                let key = numbers(64, panel * PANEL + column);
                let exact: f32 = query.iter().zip(&key).map(|(query, key)| query * key).sum();
                let score = score / block_length(64) as f32;
                assert!((score - exact).abs() < 0.2, "{score} instead of {exact}");
            }
        }
    }

    #[test]
    fn a_stored_value_is_within_half_a_step() {
        let page = page(1);
        let mut value = numbers(32, 3);
        store_value(LEVEL, at(&page, 0, 1, 6), &mut value);
        let codes = read(&page, LAYOUT.values(0, 1));
        let scale = read(&page, LAYOUT.value_scales(0, 1));
        let scale = f32::from_le_bytes(scale[24..28].try_into().unwrap());
        for (element, value) in value.iter().enumerate() {
            let code = codes[4 * 32 + element * 4 + 2] as i8;
            assert!((f32::from(code) * scale - value).abs() <= scale * 0.501);
        }
    }

    #[test]
    fn numbers_that_are_none_are_stored_as_codes() {
        let page = page(1);
        let mut bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0].repeat(16);
        store_key(LEVEL, at(&page, 0, 0, 0), &mut bad);
        store_value(LEVEL, at(&page, 0, 0, 0), &mut bad[..32]);
    }
}
