//! Products to tell algorithms apart with.

#![allow(unsafe_code)]

use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::sys;

use super::descriptions::{Layouts, Preference};
use super::{Handle, Matrix, Output, Products};
use crate::cuda::choice::{Proposals, passes};
use crate::cuda::memory::{read_bytes, write};
use crate::cuda::{Bf16, CudaError, View};

/// Proposals that are looked at for each number of rows.
const PROPOSALS: usize = 8;

/// Products to try algorithms with.
pub(super) struct Trial<'a> {
    pub(super) products: &'a Products,
    pub(super) matrix: Matrix<'a>,
    pub(super) rows: View<'a, Bf16>,
    pub(super) out: Output<'a>,
    pub(super) probes: Vec<Vec<Bf16>>,
    /// Whether algorithms may split the inner dimension.
    pub(super) splits: bool,
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

/// A hash of a row's bits (FNV-1a, by words).
fn fingerprint(row: &[u8]) -> u64 {
    row.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
