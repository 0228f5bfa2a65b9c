//! Trial products that distinguish algorithms.

#![allow(unsafe_code)]

use super::calls::{Algorithm, Calls, Proposal, Refused, check};
use super::descriptions::{Layouts, Preference};
use super::{Handle, Matrix, Output, Products};
use crate::cuda::choice::{Proposals, passes};
use crate::cuda::memory::{read_bytes, write};
use crate::cuda::{Bf16, CudaError, View};

/// Maximum proposals considered for each number of rows.
const PROPOSALS: usize = 8;

/// Trial products of algorithms.
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
    type Algorithm = Algorithm;
    type Error = CudaError;

    fn proposals(&mut self, rows: usize) -> Result<Vec<Algorithm>, CudaError> {
        let Matrix { outputs, inputs, .. } = self.matrix;
        let preference = Preference::new(self.splits);
        let found = preference.and_then(|preference| {
            propose(&self.products.handle, &preference, self.matrix, rows, &self.out)
        });
        let found = found.map_err(CudaError::product(outputs, inputs, rows))?;
        if found.is_empty() {
            return Err(CudaError::product(outputs, inputs, rows)(Refused::unsupported()));
        }
        Ok(found)
    }

    fn bits(&mut self, algorithm: &Algorithm, rows: usize) -> Result<Option<Vec<u64>>, CudaError> {
        let Matrix { inputs, outputs, .. } = self.matrix;
        let (card, out) = (&self.products.card, self.out);
        // The floats that a product is added to always start out the same, half of them not zero: some algorithms start
        // with them, others add them last.
        // last.
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
) -> Result<Vec<Algorithm>, Refused> {
    let layouts = Layouts::new(matrix, rows, out)?;
    let mut found: Vec<Proposal> = Vec::with_capacity(PROPOSALS);
    let mut count = 0;
    let calls = Calls::get()?;
    // SAFETY: all descriptions exist, and there is room for as many proposals as are requested; the library writes as
    // many as it reports.
    let asked = unsafe {
        let status = (calls.propose)(
            handle.0,
            layouts.product,
            layouts.weights,
            layouts.rows,
            layouts.out,
            layouts.out,
            preference.handle,
            PROPOSALS as i32,
            found.as_mut_ptr(),
            &raw mut count,
        );
        let asked = check(status);
        if asked.is_ok() {
            found.set_len(usize::try_from(count).unwrap_or(0).min(PROPOSALS));
        }
        asked
    };
    match asked {
        Err(refused) if !refused.concerns_the_algorithm() => Err(refused),
        _ => {
            Ok(found.into_iter().filter(Proposal::is_usable).map(|found| found.algorithm).collect())
        }
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
