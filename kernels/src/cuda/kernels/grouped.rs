//! Products of rows with one of several matrices: by head, or by expert.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaModule};

use super::{Kernels, LaunchShape, SeatInputs, Seats, allow_shared, arguments, check};
use crate::cuda::products::check_aligned;
use crate::cuda::shapes::grouped;
use crate::cuda::{CudaError, Matrices, Output, Role, Strided, Weights, most_seat_tiles};

/// The kernels of one such product.
#[derive(Debug)]
pub(super) struct GroupedProduct {
    /// For samples, then for prompts; for each of them for 16-bit weights, then for 8-bit ones.
    by_role: [[CudaFunction; 2]; 2],
}

// === impl GroupedProduct ===

impl GroupedProduct {
    /// Finds the kernels of a module by the prefix of their names.
    pub(super) fn load(module: &Arc<CudaModule>, name: &str) -> Result<GroupedProduct, CudaError> {
        let load = |role: Role, is_eight: bool| {
            let rows = if role == Role::Sample { "few" } else { "many" };
            let bits = if is_eight { "8" } else { "" };
            let function = module
                .load_function(&format!("{name}_{rows}{bits}"))
                .map_err(CudaError::driver("compiling the kernels"))?;
            allow_shared(&function, grouped(role, is_eight).2)?;
            Ok(function)
        };
        let both = |role| Ok([load(role, false)?, load(role, true)?]);
        Ok(GroupedProduct { by_role: [both(Role::Sample)?, both(Role::Prompt)?] })
    }

    fn of(&self, role: Role, is_eight: bool) -> &CudaFunction {
        &self.by_role[usize::from(role == Role::Prompt)][usize::from(is_eight)]
    }
}

// === impl Kernels ===

impl Kernels {
    /// Multiplies each head's vectors with its matrix: `out[r][m] = weights[m] . x[r][m]` for `rows` rows and all
    /// matrices. A vector of `x` has as many elements as a matrix has inputs, one of `out` as many as it has outputs.
    /// Within a role, a row's result does not depend on the rows beside it.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short or not aligned to 16 bytes, or sizes are not the required multiples.
    pub fn multiply_heads(
        &self,
        role: Role,
        matrices: Matrices<'_>,
        x: Strided<'_>,
        rows: usize,
        out: Strided<'_>,
    ) -> Result<(), CudaError> {
        let Matrices { count, outputs, inputs, .. } = matrices;
        matrices.check();
        x.check(rows, count, inputs);
        out.check(rows, count, outputs);
        let (weights, scales) = pointers(matrices.weights);
        let is_eight = matches!(matrices.weights, Weights::Eight { .. });
        let shape = LaunchShape::head_products(role, is_eight, rows, [count, outputs]);
        let (rows, inputs, outputs) = (rows as u32, inputs as u32, outputs as u32);
        let [x_stride, x_step, out_stride, out_step] =
            [x.stride, x.step, out.stride, out.step].map(|elements| elements as u32);
        self.launch(
            self.multiply_heads.of(role, is_eight),
            shape,
            arguments![
                x.view.pointer,
                weights,
                scales,
                out.view.pointer,
                rows,
                inputs,
                outputs,
                x_stride,
                x_step,
                out_stride,
                out_step,
            ],
        )
    }

    /// Multiplies each seat's inputs with its expert's matrix, into `out` (seats x outputs). Within a role, a seat's
    /// result does not depend on the seats beside it. `Role::Sample` suits few seats per expert, `Role::Prompt` many.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short or not aligned to 16 bytes, or the number of inputs is not a multiple of 16.
    pub fn multiply_experts(
        &self,
        role: Role,
        matrices: Matrices<'_>,
        seats: &Seats<'_>,
        x: SeatInputs<'_>,
        out: Output<'_>,
    ) -> Result<(), CudaError> {
        let Matrices { count, outputs, inputs, .. } = matrices;
        matrices.check();
        seats.check(count);
        let (x, rows_of_seats) = match x {
            SeatInputs::OfRows(view) => {
                check_aligned(view);
                check("rows", view.len(), seats.rows * inputs);
                (view.pointer, seats.rows_of_seats.pointer)
            }
            SeatInputs::OfSeats(view) => {
                check_aligned(view);
                check("inputs of seats", view.len(), seats.count() * inputs);
                (view.pointer, 0)
            }
        };
        check("outputs of seats", out.len(), seats.count() * outputs);
        let (weights, scales) = pointers(matrices.weights);
        let is_eight = matches!(matrices.weights, Weights::Eight { .. });
        let tiles = most_seat_tiles(seats.count(), count);
        let shape = LaunchShape::experts(role, is_eight, tiles, outputs);
        let wide = u32::from(!matches!(out, Output::Rounded(_)));
        let adds = u32::from(matches!(out, Output::Added(_)));
        let (out, inputs, outputs) = (out.pointer(), inputs as u32, outputs as u32);
        self.launch(
            self.multiply_experts.of(role, is_eight),
            shape,
            arguments![
                x,
                weights,
                scales,
                seats.tiles.pointer,
                seats.tile_count.pointer,
                rows_of_seats,
                out,
                inputs,
                outputs,
                wide,
                adds,
            ],
        )
    }
}

/// Pointers to the weights and to their scales, if there are any.
fn pointers(weights: Weights<'_>) -> (u64, u64) {
    match weights {
        Weights::Rounded(view) => (view.pointer, 0),
        Weights::Eight { bytes, scales } => (bytes.pointer, scales.pointer),
    }
}
