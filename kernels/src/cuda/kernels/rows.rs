//! Launches that treat each row by itself: embeddings, norms, gates and logits' cap.

use super::{Kernels, LaunchShape, arguments, check};
use crate::cuda::{Bf16, CudaError, View};

// === impl Kernels ===

impl Kernels {
    /// The rows' embeddings: `stream` (rows x width) becomes `scale` times the table's rows. A token with its highest bit set is the
    /// number of one among `drawn`.
    ///
    /// # Errors
    /// A lost card; so for all launches.
    pub fn embed(
        &self,
        [tokens, drawn]: [View<'_, u32>; 2],
        table: View<'_, Bf16>,
        stream: View<'_, f32>,
        width: usize,
        scale: f32,
    ) -> Result<(), CudaError> {
        let rows = tokens.len();
        check("stream", stream.len(), rows * width);
        let width = width as u32;
        self.launch(
            &self.embed,
            LaunchShape::rows(rows as u32),
            arguments![tokens.pointer, drawn.pointer, table.pointer, stream.pointer, width, scale],
        )
    }

    /// `out` (rows x width) becomes the normed stream; `weight` says how wide it is.
    ///
    /// # Errors
    /// A lost card.
    pub fn norm(
        &self,
        rows: usize,
        stream: View<'_, f32>,
        weight: View<'_, f32>,
        out: View<'_, Bf16>,
        epsilon: f32,
    ) -> Result<(), CudaError> {
        let width = weight.len();
        check("stream", stream.len(), rows * width);
        check("normed rows", out.len(), rows * width);
        let width = width as u32;
        self.launch(
            &self.norm,
            LaunchShape::rows(rows as u32),
            arguments![stream.pointer, weight.pointer, out.pointer, width, epsilon],
        )
    }

    /// Adds a normed branch to the stream; the next norm of it goes to `out`, where there is one: its weights and place.
    ///
    /// # Errors
    /// A lost card.
    pub fn join_norm(
        &self,
        rows: usize,
        stream: View<'_, f32>,
        branch: View<'_, f32>,
        branch_weight: View<'_, f32>,
        next: Option<(View<'_, f32>, View<'_, Bf16>)>,
        epsilon: f32,
    ) -> Result<(), CudaError> {
        let width = branch_weight.len();
        check("stream", stream.len(), rows * width);
        check("branch", branch.len(), rows * width);
        let (weight, out) = match next {
            None => (0, 0),
            Some((weight, out)) => {
                check("weights of a norm", weight.len(), width);
                check("normed rows", out.len(), rows * width);
                (weight.pointer, out.pointer)
            }
        };
        let width = width as u32;
        let (stream, branch) = (stream.pointer, branch.pointer);
        self.launch(
            &self.join_norm,
            LaunchShape::rows(rows as u32),
            arguments![stream, branch, branch_weight.pointer, weight, out, width, epsilon],
        )
    }

    /// Norms the stream's rows that `wanted` lists, to `out` and as floats to `hidden`.
    ///
    /// # Errors
    /// A lost card.
    pub fn gather_norm(
        &self,
        stream: View<'_, f32>,
        wanted: View<'_, u32>,
        weight: View<'_, f32>,
        out: View<'_, Bf16>,
        hidden: View<'_, f32>,
        epsilon: f32,
    ) -> Result<(), CudaError> {
        let (rows, width) = (wanted.len(), weight.len());
        check("normed rows", out.len(), rows * width);
        check("hidden states", hidden.len(), rows * width);
        let width = width as u32;
        let (wanted, weight) = (wanted.pointer, weight.pointer);
        self.launch(
            &self.gather_norm,
            LaunchShape::rows(rows as u32),
            arguments![stream.pointer, wanted, weight, out.pointer, hidden.pointer, width, epsilon],
        )
    }

    /// Activates gates and multiplies them with ups: rows of (gates, ups) become rows of `hidden` numbers.
    ///
    /// # Errors
    /// A lost card.
    pub fn gate(
        &self,
        rows: usize,
        hidden: usize,
        is_gelu: bool,
        gate_up: View<'_, Bf16>,
        out: View<'_, Bf16>,
    ) -> Result<(), CudaError> {
        check("gates and ups", gate_up.len(), rows * hidden * 2);
        check("hidden rows", out.len(), rows * hidden);
        let (hidden, kind) = (hidden as u32, u32::from(is_gelu));
        self.launch(
            &self.gate,
            LaunchShape::gates(rows as u32, hidden),
            arguments![gate_up.pointer, out.pointer, hidden, kind],
        )
    }

    /// Every number becomes `cap * tanh(number / cap)`.
    ///
    /// # Errors
    /// A lost card.
    pub fn soft_cap(&self, numbers: View<'_, f32>, cap: f32) -> Result<(), CudaError> {
        let count = numbers.len() as u64;
        self.launch(
            &self.soft_cap,
            LaunchShape::numbers(numbers.len()),
            arguments![numbers.pointer, count, cap],
        )
    }
}
