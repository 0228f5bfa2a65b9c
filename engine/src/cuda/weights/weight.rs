//! A matrix of weights on the card.

use jury_kernels::cuda::{Bf16, Buffer, EightMatrix, Matrices, Matrix, Weights};

/// `outputs` rows of `inputs` weights.
#[derive(Debug)]
pub(crate) enum Weight {
    /// In bfloat16.
    Rounded { weights: Buffer<Bf16>, outputs: usize, inputs: usize },
    /// In 8 bits, with the scales of all outputs for every 128 inputs; for a [`Stack`], matrix by matrix.
    Eight { bytes: Buffer<u8>, scales: Buffer<f32>, outputs: usize, inputs: usize },
}

/// Several matrices of equal sizes, one below the other in `weight`.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) weight: Weight,
    pub(crate) count: usize,
}

/// Borrowed weights, for a product.
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

    /// Inputs and outputs.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        let (Weight::Rounded { outputs, inputs, .. } | Weight::Eight { outputs, inputs, .. }) =
            self;
        [*inputs, *outputs]
    }
}

// === impl Stack ===

impl Stack {
    pub(crate) fn matrices(&self) -> Matrices<'_> {
        let weights = match &self.weight {
            Weight::Rounded { weights, .. } => Weights::Rounded(weights.view()),
            Weight::Eight { bytes, scales, .. } => {
                Weights::Eight { bytes: bytes.view(), scales: scales.view() }
            }
        };
        let [inputs, outputs] = self.weight.sizes();
        Matrices { weights, count: self.count, outputs: outputs / self.count, inputs }
    }
}
