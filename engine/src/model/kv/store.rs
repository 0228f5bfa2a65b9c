//! Writing one token's key and value into its slot of a page.

use half::f16;

use super::PageLayout;
use jury_kernels::cpu::disjoint::Disjoint;
use jury_kernels::cpu::hadamard::hadamard;
use jury_kernels::cpu::rows::{encode, greatest_magnitude};
use jury_kernels::cpu::values::QUAD;
use jury_kernels::cpu::{GROUP, PANEL, SimdLevel};

/// Added to a key's codes, so that they are unsigned like those of weights.
pub(super) const KEY_OFFSET: u8 = 128;
/// The greatest magnitude of a code.
const STEPS: f32 = 127.0;

/// Where a token's key or value goes.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub(crate) page: &'a Disjoint<'a, u8>,
    pub(crate) layout: PageLayout,
    pub(crate) layer: usize,
    pub(crate) head: usize,
    /// Of the page's tokens.
    pub(crate) slot: usize,
}

/// Stores a key of one head, which is transformed on the way (see `hadamard.rs`).
///
/// # Safety
/// Nobody else uses this slot of the page meanwhile.
pub(crate) unsafe fn store_key(level: SimdLevel, to: Slot<'_>, key: &mut [f32]) {
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
            // SAFETY: the caller's promise; bytes of other slots are elsewhere.
            let stored = unsafe { page.part(at..at + QUAD) };
            stored.copy_from_slice(&codes.map(|code| code as u8 ^ KEY_OFFSET));
        }
        let at = block + PageLayout::KEYS.code_bytes() + column * 2;
        // SAFETY: as above.
        unsafe { page.part(at..at + 2) }.copy_from_slice(&scale.to_le_bytes());
    }
}

/// Stores a value of one head, which is transformed on the way.
///
/// # Safety
/// Nobody else uses this slot of the page meanwhile.
pub(crate) unsafe fn store_value(level: SimdLevel, to: Slot<'_>, value: &mut [f32]) {
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
            // SAFETY: the caller's promise; bytes of other slots are elsewhere.
            let stored = unsafe { &mut page.part(at..at + 1)[0] };
            *stored = code as u8;
        }
    }
    let at = layout.value_scales(to.layer, to.head).start + slot * 4;
    // SAFETY: as above.
    unsafe { page.part(at..at + 4) }.copy_from_slice(&scale.to_le_bytes());
}

/// The greatest finite magnitude, if there is an infinite one.
fn greatest(level: SimdLevel, values: &[f32]) -> f32 {
    greatest_magnitude(level, values).min(f32::MAX)
}

fn inverse(scale: f32) -> f32 {
    if scale > 0.0 && scale.is_finite() { 1.0 / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kv::PAGE_TOKENS;
    use jury_kernels::cpu::gemm::{Outputs, PanelGemm, QuantRows, Workspace};
    use jury_kernels::cpu::hadamard::block_length;
    use jury_kernels::cpu::quantise::{ScaleKind, quantise};

    const LAYOUT: PageLayout = PageLayout { kv_heads: 2, key_size: 64, value_size: 32 };

    const LEVEL: SimdLevel = SimdLevel::Portable;

    fn at<'a>(page: &'a Disjoint<'a, u8>, layer: usize, head: usize, slot: usize) -> Slot<'a> {
        Slot { page, layout: LAYOUT, layer, head, slot }
    }

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + salt * 31) % 1000) as f32 / 500.0 - 1.0).collect()
    }

    #[test]
    fn keys_are_the_outputs_of_a_matrix() {
        let mut page = vec![0; LAYOUT.bytes_per_token(2) * PAGE_TOKENS];
        let page = Disjoint::new(&mut page);
        for slot in 0..PAGE_TOKENS {
            // SAFETY: one thread.
            unsafe { store_key(LEVEL, at(&page, 1, 1, slot), &mut numbers(64, slot)) };
        }
        let query = numbers(64, 5);
        let mut transformed = query.clone();
        hadamard(LEVEL, &mut transformed);
        let mut rows = QuantRows::default();
        rows.resize(1, 64, ScaleKind::Short);
        quantise(LEVEL, &transformed, rows.all_mut());
        // SAFETY: as above.
        let keys = unsafe { page.read(LAYOUT.keys(1, 1)) };
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
        let mut page = vec![0; LAYOUT.bytes_per_token(1) * PAGE_TOKENS];
        let page = Disjoint::new(&mut page);
        let mut value = numbers(32, 3);
        // SAFETY: one thread.
        let (codes, scale) = unsafe {
            store_value(LEVEL, at(&page, 0, 1, 6), &mut value);
            (page.read(LAYOUT.values(0, 1)), page.read(LAYOUT.value_scales(0, 1)))
        };
        let scale = f32::from_le_bytes(scale[24..28].try_into().unwrap());
        for (element, value) in value.iter().enumerate() {
            let code = codes[4 * 32 + element * 4 + 2] as i8;
            assert!((f32::from(code) * scale - value).abs() <= scale * 0.501);
        }
    }

    #[test]
    fn numbers_that_are_none_are_stored_as_codes() {
        let mut page = vec![0; LAYOUT.bytes_per_token(1) * PAGE_TOKENS];
        let page = Disjoint::new(&mut page);
        let mut bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0].repeat(16);
        // SAFETY: one thread.
        unsafe {
            store_key(LEVEL, at(&page, 0, 0, 0), &mut bad);
            store_value(LEVEL, at(&page, 0, 0, 0), &mut bad[..32]);
        }
    }
}
