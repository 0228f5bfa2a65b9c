//! Matrix products by cuBLASLt: rows of bfloat16 times a matrix of weights, `out[row][output] = x[row] . w[output]`.
//!
//! The library's matrices are column-major: for it, the weights are a transposed matrix (inputs x outputs), the rows a
//! matrix (inputs x rows), and the outputs a matrix (outputs x rows). Sums are f32.

#![allow(unsafe_code)]

mod calls;
mod descriptions;
mod operands;
mod trial;

use std::ffi::c_void;

use super::choice::{Choice, PROBES, Role, choose};
use super::memory::read_bytes;
use super::probe::cancelling_row;
use super::{Bf16, Buffer, Card, CudaError, View};
pub(super) use calls::Refused;
use calls::{Algorithm, Calls, check};
use descriptions::Layouts;
pub(super) use operands::check_aligned;
pub use operands::{EightMatrix, Matrices, Matrix, Output, Strided, Weights};
use trial::Trial;

/// Workspace for algorithms, in bytes: NVIDIA's recommendation for Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;

/// The library, used on one card.
pub struct Products {
    card: Card,
    calls: &'static Calls,
    handle: Handle,
    workspace: Buffer<u8>,
}

struct Handle(calls::Handle);

// SAFETY: the library allows one handle from many threads; we use it from one at a time.
unsafe impl Send for Handle {}

/// The algorithms of one kind of product on this card.
#[derive(Debug, Clone)]
pub struct Algorithms {
    choice: Choice<Algorithm>,
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
    /// The library fails, or there is no memory for its workspace.
    pub fn new(card: &Card) -> Result<Products, CudaError> {
        card.bind()?;
        let failed = || CudaError::product(0, 0, 0);
        let calls = Calls::get().map_err(failed())?;
        // SAFETY: it writes one handle.
        let handle = Calls::made(|handle| unsafe { (calls.create)(handle) });
        let handle = Handle(handle.map_err(failed())?);
        let workspace = Buffer::new(card, WORKSPACE_BYTES, "the workspace of products")?;
        Ok(Products { card: card.clone(), calls, handle, workspace })
    }

    /// cuBLASLt's version number.
    pub fn version(&self) -> usize {
        self.calls.version()
    }

    /// Chooses a role's algorithms for products of these sizes with this kind of output, for as many rows as fit in
    /// `rows` and `out`. Trials use the given matrix's weights and overwrite `rows` and `out`.
    ///
    /// # Errors
    /// The library has no algorithm, or the card is lost. A library that has no algorithm, or a lost card.
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
            // Outputs spread over the whole matrix.
            let output = (probe * outputs / PROBES + probe) % outputs;
            let of_output = matrix.weights.slice(output * inputs..(output + 1) * inputs);
            let bits = read_bytes(&self.card, of_output)?;
            let weights = bits.as_chunks().0.iter().map(|&two| Bf16::from_le_bytes(two));
            probes.push(cancelling_row(probe, &weights.collect::<Vec<Bf16>>()));
        }
        let mut trial = Trial { products: self, matrix, rows, out, probes, splits: true };
        let mut choice = choose(role, most, &mut trial)?;
        if !choice.is_invariant {
            // Whether and how often sums are split depends on the number of rows.
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
    /// The library rejects the product, or the card is lost.
    ///
    /// # Panics
    /// A view is too short.
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
        let done = run(choice.of(rows)).or_else(|refused| {
            // It was tried with another number of rows. If the choice is invariant, any of the algorithms gives the
            // same bits.
            let others = choice.algorithms.iter().filter(|_| refused.concerns_the_algorithm());
            others.map(run).find_map(Result::ok).ok_or(refused)
        });
        done.map_err(CudaError::product(matrix.outputs, matrix.inputs, rows))
    }

    fn run(
        &self,
        algorithm: &Algorithm,
        matrix: Matrix<'_>,
        x: View<'_, Bf16>,
        rows: usize,
        out: Output<'_>,
    ) -> Result<(), Refused> {
        let Matrix { weights, outputs, inputs } = matrix;
        assert!(weights.len() >= outputs * inputs, "weights of {outputs} x {inputs}");
        assert!(x.len() >= rows * inputs, "{rows} rows of {inputs}");
        assert!(out.len() >= rows * outputs, "{rows} rows of {outputs}");
        let layouts = Layouts::new(matrix, rows, &out)?;
        let (alpha, beta) = (1.0f32, if matches!(out, Output::Added(_)) { 1.0f32 } else { 0.0 });
        // SAFETY: the layouts describe the views, whose lengths are checked, and the workspace has the stated size.
        let status = unsafe {
            (self.calls.multiply)(
                self.handle.0,
                layouts.product,
                (&raw const alpha).cast(),
                weights.pointer as *const c_void,
                layouts.weights,
                x.pointer as *const c_void,
                layouts.rows,
                (&raw const beta).cast(),
                out.pointer() as *const c_void,
                layouts.out,
                out.pointer() as *mut c_void,
                layouts.out,
                algorithm,
                self.workspace.view().pointer as *mut c_void,
                WORKSPACE_BYTES,
                self.card.stream.cu_stream().cast(),
            )
        };
        check(status)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Ok(calls) = Calls::get() {
            // SAFETY: made in `new`, destroyed here alone.
            let _ = unsafe { (calls.destroy)(self.0) };
        }
    }
}

impl std::fmt::Debug for Products {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Products").field("version", &self.version()).finish_non_exhaustive()
    }
}
