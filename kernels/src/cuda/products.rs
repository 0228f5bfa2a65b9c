//! Matrix products by cuBLASLt: rows of bfloat16 times a matrix of weights, `out[row][output] = x[row] . w[output]`.
//!
//! To the library, whose matrices lie column by column, the weights are a transposed matrix (inputs x outputs), the rows a
//! matrix (inputs x rows), and the outputs a matrix (outputs x rows). Sums are f32.

#![allow(unsafe_code)]

use std::ffi::c_void;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

use super::choice::{Choice, PROBES, Proposals, Role, choose, passes};
use super::memory::{read_bytes, write};
use super::probe::cancelling_row;
use super::{Bf16, Buffer, Card, CudaError, View};

/// Memory that algorithms may use, in bytes: what NVIDIA advises for Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;
/// Bytes that a row begins at a multiple of.
const ROW_ALIGNMENT: u32 = 16;
/// cuBLASLt's mask of no scheme that adds up parts of sums.
const NO_REDUCTIONS: u32 = 0;
/// cuBLAS's number of a transposed matrix; the crate names it in the bindings of cuBLAS alone.
const CUBLAS_OP_T: i32 = 1;
/// Proposals that are looked at for each number of rows.
const PROPOSALS: usize = 8;

/// The library, in use on one card.
#[derive(Debug)]
pub struct Products {
    card: Card,
    handle: Handle,
    workspace: Buffer<u8>,
}

#[derive(Debug)]
struct Handle(sys::cublasLtHandle_t);

// SAFETY: the library allows one handle from many threads; we use it from one at a time.
unsafe impl Send for Handle {}

/// A matrix of weights: `outputs` rows of `inputs`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// The weights.
    pub weights: View<'a, Bf16>,
    /// Rows of the matrix.
    pub outputs: usize,
    /// Columns of the matrix.
    pub inputs: usize,
}

/// A matrix of weights of 8 bits: bytes as [`super::quantise_eight`] makes them, and for every 128 inputs the scales of all outputs.
#[derive(Debug, Clone, Copy)]
pub struct EightMatrix<'a> {
    /// The bytes.
    pub bytes: View<'a, u8>,
    /// The scales.
    pub scales: View<'a, f32>,
    /// Rows of the matrix.
    pub outputs: usize,
    /// Columns of the matrix.
    pub inputs: usize,
}

/// Where a product goes.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// Rounded to bfloat16.
    Rounded(View<'a, Bf16>),
    /// As floats.
    Floats(View<'a, f32>),
    /// Added to these floats.
    Added(View<'a, f32>),
}

/// The algorithms of one kind of product on this card.
#[derive(Debug, Clone)]
pub struct Algorithms {
    choice: Choice<sys::cublasLtMatmulAlgo_t>,
}

// === impl Output ===

impl<'a> Output<'a> {
    /// What follows the first elements.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn after(self, elements: usize) -> Output<'a> {
        match self {
            Output::Rounded(view) => Output::Rounded(view.slice(elements..view.len())),
            Output::Floats(view) => Output::Floats(view.slice(elements..view.len())),
            Output::Added(view) => Output::Added(view.slice(elements..view.len())),
        }
    }

    fn kind(&self) -> sys::cudaDataType {
        match self {
            Output::Rounded(_) => sys::cudaDataType_t::CUDA_R_16BF,
            Output::Floats(_) | Output::Added(_) => sys::cudaDataType_t::CUDA_R_32F,
        }
    }

    pub(super) fn pointer(&self) -> u64 {
        match self {
            Output::Rounded(view) => view.pointer,
            Output::Floats(view) | Output::Added(view) => view.pointer,
        }
    }

    /// Elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Output::Rounded(view) => view.len(),
            Output::Floats(view) | Output::Added(view) => view.len(),
        }
    }
}

// === impl Algorithms ===

impl Algorithms {
    /// Whether a row's bits are the same for every number of rows beside it.
    pub fn is_invariant(&self) -> bool {
        self.choice.is_invariant
    }
}

// === impl Products ===

impl Products {
    /// Opens the library.
    ///
    /// # Errors
    /// A library that fails, or no memory for its workspace.
    pub fn new(card: &Card) -> Result<Products, CudaError> {
        card.bind()?;
        let handle = Handle(result::create_handle().map_err(CudaError::product(0, 0, 0))?);
        let workspace = Buffer::new(card, WORKSPACE_BYTES, "the workspace of products")?;
        Ok(Products { card: card.clone(), handle, workspace })
    }

    /// cuBLASLt's version, as it gives it.
    pub fn version(&self) -> usize {
        // SAFETY: the library is open.
        unsafe { sys::cublasLtGetVersion() }
    }

    /// Chooses the algorithms of a role for products of this kind: of these sizes, to this kind of output, with as many rows as `rows` and `out`
    /// have room for. They are tried with the matrix's weights; `rows` and `out` are written to.
    ///
    /// # Errors
    /// A library that has no algorithm, or a lost card.
    pub fn choose(
        &self,
        role: Role,
        matrix: Matrix<'_>,
        rows: View<'_, Bf16>,
        out: Output<'_>,
    ) -> Result<Algorithms, CudaError> {
        let Matrix { outputs, inputs, .. } = matrix;
        let most = (rows.len() / inputs).min(out.len() / outputs);
        let mut probes = Vec::new();
        for probe in 0..PROBES {
            // Outputs all over the matrix.
            let output = (probe * outputs / PROBES + probe) % outputs;
            let of_output = matrix.weights.slice(output * inputs..(output + 1) * inputs);
            let bits = read_bytes(&self.card, of_output)?;
            let weights = bits.as_chunks().0.iter().map(|&two| Bf16::from_le_bytes(two));
            probes.push(cancelling_row(probe, &weights.collect::<Vec<Bf16>>()));
        }
        let mut trial = Trial { products: self, matrix, rows, out, probes, splits: true };
        let mut choice = choose(role, most, &mut trial)?;
        if !choice.is_invariant {
            // Sums that are split, and how often, depend on the number of rows.
            trial.splits = false;
            choice = choose(role, most, &mut trial).unwrap_or(choice);
        }
        if !choice.is_invariant {
            tracing::warn!(outputs, inputs, ?role, "a row's bits depend on the rows beside it");
        }
        Ok(Algorithms { choice })
    }

    /// Computes the product of the first `rows` of `x`.
    ///
    /// # Errors
    /// A product that the library refuses, or a lost card.
    ///
    /// # Panics
    /// Where a view is too short.
    pub fn multiply(
        &self,
        algorithms: &Algorithms,
        matrix: Matrix<'_>,
        x: View<'_, Bf16>,
        rows: usize,
        out: Output<'_>,
    ) -> Result<(), CudaError> {
        if rows == 0 {
            return Ok(());
        }
        let choice = &algorithms.choice;
        let run = |algorithm| self.run(algorithm, matrix, x, rows, out);
        let done = run(choice.of(rows)).or_else(|refused| match refused.0 {
            // It was tried with another number of rows. All of them give the same bits, if any do.
            sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED
            | sys::cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE => {
                choice.algorithms.iter().find_map(|other| run(other).ok()).ok_or(refused)
            }
            _ => Err(refused),
        });
        done.map_err(CudaError::product(matrix.outputs, matrix.inputs, rows))
    }

    fn run(
        &self,
        algorithm: &sys::cublasLtMatmulAlgo_t,
        matrix: Matrix<'_>,
        x: View<'_, Bf16>,
        rows: usize,
        out: Output<'_>,
    ) -> Result<(), CublasError> {
        let Matrix { weights, outputs, inputs } = matrix;
        assert!(weights.len() >= outputs * inputs, "weights of {outputs} x {inputs}");
        assert!(x.len() >= rows * inputs, "{rows} rows of {inputs}");
        assert!(out.len() >= rows * outputs, "{rows} rows of {outputs}");
        let layouts = Layouts::new(matrix, rows, &out)?;
        let (alpha, beta) = (1.0f32, if matches!(out, Output::Added(_)) { 1.0f32 } else { 0.0 });
        // SAFETY: the layouts say what the views hold, their lengths are checked, and the workspace is as large as said.
        unsafe {
            result::matmul(
                self.handle.0,
                layouts.product,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                weights.pointer as *const c_void,
                layouts.weights,
                x.pointer as *const c_void,
                layouts.rows,
                out.pointer() as *const c_void,
                layouts.out,
                out.pointer() as *mut c_void,
                layouts.out,
                algorithm,
                self.workspace.view().pointer as *mut c_void,
                WORKSPACE_BYTES,
                self.card.stream.cu_stream().cast(),
            )
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed here alone.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

/// The library's descriptions of one product.
struct Layouts {
    product: sys::cublasLtMatmulDesc_t,
    weights: sys::cublasLtMatrixLayout_t,
    rows: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
}

// === impl Layouts ===

impl Layouts {
    fn new(matrix: Matrix<'_>, rows: usize, out: &Output<'_>) -> Result<Layouts, CublasError> {
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

/// Products to try algorithms with.
struct Trial<'a> {
    products: &'a Products,
    matrix: Matrix<'a>,
    rows: View<'a, Bf16>,
    out: Output<'a>,
    probes: Vec<Vec<Bf16>>,
    /// Whether algorithms may split the inner dimension.
    splits: bool,
}

impl Proposals for Trial<'_> {
    type Algorithm = sys::cublasLtMatmulAlgo_t;
    type Error = CudaError;

    fn proposals(&mut self, rows: usize) -> Result<Vec<sys::cublasLtMatmulAlgo_t>, CudaError> {
        let Matrix { outputs, inputs, .. } = self.matrix;
        let preference = Preference::new(self.splits);
        let found = preference.and_then(|preference| {
            propose(&self.products.handle, &preference, self.matrix, rows, &self.out)
        });
        let found = found.map_err(CudaError::product(outputs, inputs, rows))?;
        if found.is_empty() {
            let status = CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED);
            return Err(CudaError::product(outputs, inputs, rows)(status));
        }
        Ok(found)
    }

    fn bits(
        &mut self,
        algorithm: &sys::cublasLtMatmulAlgo_t,
        rows: usize,
    ) -> Result<Option<Vec<u64>>, CudaError> {
        let Matrix { inputs, outputs, .. } = self.matrix;
        let (card, out) = (&self.products.card, self.out);
        // What is added to begins alike, half of it not with zeros: some algorithms begin with it, others end.
        let before: Vec<f32> = (0..outputs)
            .map(|output| if output % 2 == 0 { 0.0 } else { (output as f32).sin() })
            .collect();
        let mut bits = Vec::new();
        for pass in passes(rows) {
            for &(probe, row) in &pass {
                let place = self.rows.slice(row * inputs..(row + 1) * inputs);
                write(card, place, &self.probes[probe])?;
                if let Output::Added(view) = out {
                    write(card, view.slice(row * outputs..(row + 1) * outputs), &before)?;
                }
            }
            if self.products.run(algorithm, self.matrix, self.rows, rows, out).is_err() {
                return Ok(None);
            }
            for &(_, row) in &pass {
                let row = row * outputs..(row + 1) * outputs;
                let bytes = match out {
                    Output::Rounded(view) => read_bytes(card, view.slice(row))?,
                    Output::Floats(view) | Output::Added(view) => {
                        read_bytes(card, view.slice(row))?
                    }
                };
                bits.push(fingerprint(&bytes));
            }
        }
        Ok(Some(bits))
    }
}

fn propose(
    handle: &Handle,
    preference: &Preference,
    matrix: Matrix<'_>,
    rows: usize,
    out: &Output<'_>,
) -> Result<Vec<sys::cublasLtMatmulAlgo_t>, CublasError> {
    let layouts = Layouts::new(matrix, rows, out)?;
    let mut found = Vec::with_capacity(PROPOSALS);
    let mut count = 0;
    // SAFETY: all descriptions exist, and there is room for as many proposals as are asked for.
    let status = unsafe {
        let asked = sys::cublasLtMatmulAlgoGetHeuristic(
            handle.0,
            layouts.product,
            layouts.weights,
            layouts.rows,
            layouts.out,
            layouts.out,
            preference.0,
            PROPOSALS as i32,
            found.as_mut_ptr(),
            &raw mut count,
        )
        .result();
        if asked.is_ok() {
            found.set_len(usize::try_from(count).unwrap_or(0).min(PROPOSALS));
        }
        asked
    };
    match status {
        Ok(()) => Ok(found
            .into_iter()
            .filter(|found: &sys::cublasLtMatmulHeuristicResult_t| found.state.result().is_ok())
            .map(|found| found.algo)
            .collect()),
        Err(error) if error.0 == sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What algorithms may ask for.
struct Preference(sys::cublasLtMatmulPreference_t);

// === impl Preference ===

impl Preference {
    fn new(splits: bool) -> Result<Preference, CublasError> {
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

/// A hash of a row's bits (FNV-1a, by words).
fn fingerprint(row: &[u8]) -> u64 {
    row.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
