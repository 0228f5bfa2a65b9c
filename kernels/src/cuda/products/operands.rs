//! Operands and outputs of products.

use super::calls::{BFLOAT16, FLOAT32};
use crate::cuda::{Bf16, EIGHT_GROUP, View};

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

/// A matrix of 8-bit weights: bytes as written by [`crate::cuda::quantise_eight`], and the scales of all outputs for
/// every 128 inputs.
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

/// Matrices of equal sizes, one below the other.
#[derive(Debug, Clone, Copy)]
pub struct Matrices<'a> {
    /// The weights of all.
    pub weights: Weights<'a>,
    /// Number of matrices.
    pub count: usize,
    /// Rows of a matrix.
    pub outputs: usize,
    /// Columns of a matrix: a multiple of 16.
    pub inputs: usize,
}

/// How the weights of [`Matrices`] are stored.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// count x outputs x inputs.
    Rounded(View<'a, Bf16>),
    /// In 8 bits.
    Eight {
        /// Bytes as written by [`crate::cuda::quantise_eight`]: count x outputs x inputs.
        bytes: View<'a, u8>,
        /// The scales of a matrix's outputs for every 128 inputs: count x ceil(inputs / 128) x outputs.
        scales: View<'a, f32>,
    },
}

/// A vector for each row and each matrix: that of row r and matrix m starts at `r * stride + m * step`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// Starts at the first row's vector for the first matrix.
    pub view: View<'a, Bf16>,
    /// Elements from one row to the next: a multiple of 8.
    pub stride: usize,
    /// Elements from one matrix's vector to the next: a multiple of 8.
    pub step: usize,
}

/// Output of a product.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// Rounded to bfloat16.
    Rounded(View<'a, Bf16>),
    /// As floats.
    Floats(View<'a, f32>),
    /// Added to these floats.
    Added(View<'a, f32>),
}

// === impl Matrices ===

impl Matrices<'_> {
    /// Checks the lengths of views against the sizes.
    pub(in crate::cuda) fn check(&self) {
        let Matrices { weights, count, outputs, inputs } = *self;
        assert!(inputs.is_multiple_of(16), "{inputs} inputs are no multiple of 16");
        let (len, scales) = match weights {
            Weights::Rounded(view) => {
                check_aligned(view);
                (view.len(), None)
            }
            Weights::Eight { bytes, scales } => {
                check_aligned(bytes);
                (bytes.len(), Some(scales.len()))
            }
        };
        assert!(len >= count * outputs * inputs, "{count} matrices of {outputs} x {inputs}");
        let needed = count * inputs.div_ceil(EIGHT_GROUP) * outputs;
        assert!(scales.is_none_or(|len| len >= needed), "{needed} scales");
    }
}

// === impl Strided ===

impl Strided<'_> {
    /// Checks the view's length for vectors of `len` elements.
    pub(in crate::cuda) fn check(&self, rows: usize, count: usize, len: usize) {
        let Strided { view, stride, step } = *self;
        assert!(
            stride.is_multiple_of(8) && step.is_multiple_of(8),
            "vectors {stride} and {step} apart"
        );
        if rows == 0 || count == 0 {
            return;
        }
        check_aligned(view);
        let needed = (rows - 1) * stride + (count - 1) * step + len;
        assert!(view.len() >= needed, "{rows} rows, {stride} apart, of {count} vectors of {len}");
    }
}

// === impl Output ===

impl<'a> Output<'a> {
    /// The output without its first `elements`.
    ///
    /// # Panics
    /// It has fewer.
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

    /// Number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Output::Rounded(view) => view.len(),
            Output::Floats(view) | Output::Added(view) => view.len(),
        }
    }
}

/// Kernels read 16 bytes at once.
pub(in crate::cuda) fn check_aligned<T>(view: View<'_, T>) {
    assert!(view.pointer.is_multiple_of(16), "a view that begins at no multiple of 16 bytes");
}
