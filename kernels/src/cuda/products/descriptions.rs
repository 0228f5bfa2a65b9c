//! The library's descriptions of a product, and of the requirements that algorithms may have.

#![allow(unsafe_code)]

use super::calls::{BFLOAT16, Calls, FLOAT32, Handle, Refused, SUMS_FLOAT32, check};
use super::{Matrix, Output, WORKSPACE_BYTES};

/// Alignment of rows, in bytes.
const ROW_ALIGNMENT: u32 = 16;
/// cuBLASLt's masks for how partial sums may be added: not at all, or as floats. Its default also allows the output
/// type, which would add in bfloat16.
const NO_REDUCTIONS: u32 = 0;
const FLOAT_REDUCTIONS: u32 = 2;
/// The attribute for transposing the first matrix, and its value for yes.
const TRANSPOSES_FIRST: u32 = 3;
const TRANSPOSED: i32 = 1;
/// Attributes of preferences.
const MOST_WORKSPACE: u32 = 1;
const REDUCTIONS: u32 = 3;
/// Of the second matrix, of the added matrix, and of the outputs.
const LEAST_ALIGNMENTS: [u32; 3] = [6, 7, 8];

/// The library's descriptions of one product.
pub(super) struct Layouts {
    calls: &'static Calls,
    pub(super) product: Handle,
    pub(super) weights: Handle,
    pub(super) rows: Handle,
    pub(super) out: Handle,
}

// === impl Layouts ===

impl Layouts {
    pub(super) fn new(
        matrix: Matrix<'_>,
        rows: usize,
        out: &Output<'_>,
    ) -> Result<Layouts, Refused> {
        let calls = Calls::get()?;
        let (inputs, outputs, rows) = (matrix.inputs as u64, matrix.outputs as u64, rows as u64);
        // SAFETY: each call writes one handle.
        let product =
            Calls::made(|made| unsafe { (calls.create_product)(made, SUMS_FLOAT32, FLOAT32) })?;
        let none = std::ptr::null_mut();
        let mut layouts = Layouts { calls, product, weights: none, rows: none, out: none };
        let transposed = TRANSPOSED;
        // SAFETY: the description exists, and the attribute is an int.
        check(unsafe {
            (calls.set_product)(
                product,
                TRANSPOSES_FIRST,
                (&raw const transposed).cast(),
                size_of_val(&transposed),
            )
        })?;
        let layout = |kind, rows, columns| {
            // SAFETY: as above; columns lie one after the other.
            Calls::made(|made| unsafe {
                (calls.create_layout)(made, kind, rows, columns, rows as i64)
            })
        };
        layouts.weights = layout(BFLOAT16, inputs, outputs)?;
        layouts.rows = layout(BFLOAT16, inputs, rows)?;
        layouts.out = layout(out.kind(), outputs, rows)?;
        Ok(layouts)
    }
}

impl Drop for Layouts {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed here alone; those that were not made are null.
        unsafe {
            let _ = (self.calls.destroy_product)(self.product);
            for layout in [self.weights, self.rows, self.out] {
                if !layout.is_null() {
                    let _ = (self.calls.destroy_layout)(layout);
                }
            }
        }
    }
}

/// The requirements that algorithms may have.
pub(super) struct Preference {
    calls: &'static Calls,
    pub(super) handle: Handle,
}

// === impl Preference ===

impl Preference {
    /// `splits` says whether sums may be split into parts.
    pub(super) fn new(splits: bool) -> Result<Preference, Refused> {
        let calls = Calls::get()?;
        // SAFETY: it writes one handle.
        let handle = Calls::made(|made| unsafe { (calls.create_preference)(made) })?;
        let preference = Preference { calls, handle };
        preference.set(MOST_WORKSPACE, &WORKSPACE_BYTES)?;
        preference.set(REDUCTIONS, if splits { &FLOAT_REDUCTIONS } else { &NO_REDUCTIONS })?;
        // Rows of prompts start after those of samples, at any row.
        for alignment in LEAST_ALIGNMENTS {
            preference.set(alignment, &ROW_ALIGNMENT)?;
        }
        Ok(preference)
    }

    fn set<T>(&self, attribute: u32, value: &T) -> Result<(), Refused> {
        let from = std::ptr::from_ref(value).cast();
        // SAFETY: the preference exists, and callers pass the attribute's type: a size, or a u32.
        check(unsafe { (self.calls.set_preference)(self.handle, attribute, from, size_of::<T>()) })
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed here alone.
        let _ = unsafe { (self.calls.destroy_preference)(self.handle) };
    }
}
