//! Where a tensor is stored in a model's files and what it is, independent of the file format.

use jury_kernels::blocks::BlockType;

/// A tensor's entry, under its GGUF name.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo {
    /// Sizes, the contiguous dimension first: a matrix is [inputs, outputs].
    pub(crate) dimensions: Vec<usize>,
    pub(crate) block_type: BlockType,
    /// Index of the file that holds it; 0 if there is only one.
    pub(crate) shard: usize,
    /// In bytes, from the start of that file.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

// === impl TensorInfo ===

impl TensorInfo {
    /// Number of weights.
    pub(crate) fn elements(&self) -> u64 {
        self.dimensions.iter().map(|&size| size as u64).product()
    }
}
