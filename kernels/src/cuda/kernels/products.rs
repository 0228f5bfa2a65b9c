//! Launches of our own matrix products.

use super::{Kernels, LaunchShape, arguments, check};
use crate::cuda::{Bf16, CudaError, EIGHT_GROUP, EightMatrix, Output, View};

// === impl Kernels ===

impl Kernels {
    /// Multiplies the first `rows` of `x` (rows x inputs) with 8-bit weights, into `out` (rows x outputs). A row's bits
    /// do not depend on the rows beside it.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short.
    pub fn multiply_eight(
        &self,
        matrix: EightMatrix<'_>,
        x: View<'_, Bf16>,
        rows: usize,
        out: Output<'_>,
    ) -> Result<(), CudaError> {
        let EightMatrix { bytes, scales, outputs, inputs } = matrix;
        check("weights", bytes.len(), outputs * inputs);
        check("scales", scales.len(), outputs * inputs.div_ceil(EIGHT_GROUP));
        check("rows", x.len(), rows * inputs);
        check("outputs", out.len(), rows * outputs);
        let shape = LaunchShape::eights(rows, outputs);
        let wide = u32::from(!matches!(out, Output::Rounded(_)));
        let adds = u32::from(matches!(out, Output::Added(_)));
        let (out, rows, inputs, outputs) =
            (out.pointer(), rows as u32, inputs as u32, outputs as u32);
        let (x, bytes, scales) = (x.pointer, bytes.pointer, scales.pointer);
        self.launch(
            &self.product8,
            shape,
            arguments![x, bytes, scales, out, rows, inputs, outputs, wide, adds],
        )
    }

    /// Converts an 8-bit matrix to bfloat16, into `out` (outputs x inputs).
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short.
    pub fn widen_eight(
        &self,
        matrix: EightMatrix<'_>,
        out: View<'_, Bf16>,
    ) -> Result<(), CudaError> {
        let EightMatrix { bytes, scales, outputs, inputs } = matrix;
        check("weights", bytes.len(), outputs * inputs);
        check("scales", scales.len(), outputs * inputs.div_ceil(EIGHT_GROUP));
        check("widened weights", out.len(), outputs * inputs);
        let shape = LaunchShape::widened(outputs, inputs);
        let (inputs, outputs) = (inputs as u32, outputs as u32);
        self.launch(
            &self.widen8,
            shape,
            arguments![bytes.pointer, scales.pointer, out.pointer, inputs, outputs],
        )
    }
}
