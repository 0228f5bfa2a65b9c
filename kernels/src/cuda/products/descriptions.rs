//! The library's descriptions of a product and of what algorithms may ask for.

#![allow(unsafe_code)]

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

use super::{Matrix, Output, WORKSPACE_BYTES};

/// Bytes that a row begins at a multiple of.
const ROW_ALIGNMENT: u32 = 16;
/// cuBLASLt's mask of no scheme that adds up parts of sums.
const NO_REDUCTIONS: u32 = 0;
/// cuBLAS's number of a transposed matrix; the crate names it in the bindings of cuBLAS alone.
const CUBLAS_OP_T: i32 = 1;

/// The library's descriptions of one product.
pub(super) struct Layouts {
    pub(super) product: sys::cublasLtMatmulDesc_t,
    pub(super) weights: sys::cublasLtMatrixLayout_t,
    pub(super) rows: sys::cublasLtMatrixLayout_t,
    pub(super) out: sys::cublasLtMatrixLayout_t,
}

// === impl Layouts ===

impl Layouts {
    pub(super) fn new(
        matrix: Matrix<'_>,
        rows: usize,
        out: &Output<'_>,
    ) -> Result<Layouts, CublasError> {
        let (inputs, outputs, rows) = (matrix.inputs as u64, matrix.outputs as u64, rows as u64);
        let bf16 = sys::cudaDataType_t::CUDA_R_16BF;
        let product = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        let mut layouts = Layouts {
            product,
            weights: std::ptr::null_mut(),
            rows: std::ptr::null_mut(),
            out: std::ptr::null_mut(),
        };
        let transposed = CUBLAS_OP_T;
        // SAFETY: the description exists, and the attribute is of this type.
        unsafe {
            result::set_matmul_desc_attribute(
                product,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                (&raw const transposed).cast(),
                size_of_val(&transposed),
            )?;
        }
        layouts.weights = result::create_matrix_layout(bf16, inputs, outputs, inputs as i64)?;
        layouts.rows = result::create_matrix_layout(bf16, inputs, rows, inputs as i64)?;
        layouts.out = result::create_matrix_layout(out.kind(), outputs, rows, outputs as i64)?;
        Ok(layouts)
    }
}

impl Drop for Layouts {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed here alone; those that were not made are null.
        unsafe {
            let _ = result::destroy_matmul_desc(self.product);
            for layout in [self.weights, self.rows, self.out] {
                if !layout.is_null() {
                    let _ = result::destroy_matrix_layout(layout);
                }
            }
        }
    }
}

/// What algorithms may ask for.
pub(super) struct Preference(pub(super) sys::cublasLtMatmulPreference_t);

// === impl Preference ===

impl Preference {
    pub(super) fn new(splits: bool) -> Result<Preference, CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
        let preference = Preference(result::create_matmul_pref()?);
        preference.set(Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE_BYTES)?;
        if !splits {
            preference
                .set(Attribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &NO_REDUCTIONS)?;
        }
        // Rows of prompts begin after those of samples, wherever that is.
        for attribute in [
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            preference.set(attribute, &ROW_ALIGNMENT)?;
        }
        Ok(preference)
    }

    fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulPreferenceAttributes_t,
        value: &T,
    ) -> Result<(), CublasError> {
        // SAFETY: the preference exists, and callers give what the attribute is: a size, or a u32.
        unsafe {
            result::set_matmul_pref_attribute(
                self.0,
                attribute,
                std::ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        }
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed here alone.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
