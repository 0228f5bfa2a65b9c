//! What is multiplied, and where products go.

use super::calls::{BFLOAT16, FLOAT32};
use crate::cuda::{Bf16, View};

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

/// A matrix of weights of 8 bits: bytes as [`crate::cuda::quantise_eight`] makes them, and for every 128 inputs the scales of all outputs.
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

    pub(super) fn kind(&self) -> u32 {
        match self {
            Output::Rounded(_) => BFLOAT16,
            Output::Floats(_) | Output::Added(_) => FLOAT32,
        }
    }

    pub(in crate::cuda) fn pointer(&self) -> u64 {
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
