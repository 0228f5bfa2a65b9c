//! A matrix of weights on the card.

use jury_kernels::cuda::{Bf16, Buffer, EightMatrix, Matrix};

/// `outputs` rows of `inputs` weights.
#[derive(Debug)]
pub(crate) enum Weight {
    /// In bfloat16.
    Rounded { weights: Buffer<Bf16>, outputs: usize, inputs: usize },
    /// In 8 bits, with the scales of all outputs for every 128 inputs.
    Eight { bytes: Buffer<u8>, scales: Buffer<f32>, outputs: usize, inputs: usize },
}

/// The same, for a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WeightView<'a> {
    Rounded(Matrix<'a>),
    Eight(EightMatrix<'a>),
}

// === impl Weight ===

impl Weight {
    pub(crate) fn view(&self) -> WeightView<'_> {
        match self {
            Weight::Rounded { weights, outputs, inputs } => WeightView::Rounded(Matrix {
                weights: weights.view(),
                outputs: *outputs,
                inputs: *inputs,
            }),
            Weight::Eight { bytes, scales, outputs, inputs } => WeightView::Eight(EightMatrix {
                bytes: bytes.view(),
                scales: scales.view(),
                outputs: *outputs,
                inputs: *inputs,
            }),
        }
    }
}
