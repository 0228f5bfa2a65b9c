//! Launches that treat each row by itself: embeddings, norms, gates and the soft cap of logits.

use super::{Kernels, LaunchShape, arguments, check};
use crate::cuda::{Bf16, CudaError, View};

// === impl Kernels ===

impl Kernels {
    /// Writes the rows' embeddings to `stream` (rows x width): `scale` times the tokens' rows of `table` (vocabulary x
    /// width). A token whose highest bit is set is an index into `drawn` (the other bits).
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// `stream` is too short.
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

    /// Normalises the rows of `stream` (rows x width) into `out` (rows x width); the length of `weight` is the width.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short.
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

    /// Adds a normalised branch to the stream (both rows x width); the length of `branch_weight` is the width. If
    /// `next` is given (weights and output), also writes the next norm of the sum there (rows x width).
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short.
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

    /// Normalises the rows of the stream (rows x width) that `wanted` lists, into `out` and, as floats, into `hidden`
    /// (both wanted rows x width); the length of `weight` is the width.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// `out` or `hidden` is too short.
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

    /// Applies the activation to gates and multiplies them with ups: `gate_up` is rows x (`hidden` gates, `hidden`
    /// ups), `out` is rows x `hidden`; `hidden` must be a multiple of 8.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short.
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

    /// Replaces every number by `cap * tanh(number / cap)`.
    ///
    /// # Errors
    /// The card is lost.
    pub fn soft_cap(&self, numbers: View<'_, f32>, cap: f32) -> Result<(), CudaError> {
        let count = numbers.len() as u64;
        self.launch(
            &self.soft_cap,
            LaunchShape::numbers(numbers.len()),
            arguments![numbers.pointer, count, cap],
        )
    }
}
