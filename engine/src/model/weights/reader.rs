//! Reads tensors of expected sizes.

use std::borrow::Cow;

use super::Linear;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::Shape;
use crate::tensor::TensorInfo;
use jury_kernels::blocks::BlockType;
use jury_kernels::cpu::memory::Arena;
use jury_kernels::cpu::packed::PackedMatrix;

/// The tensors of one model.
pub(crate) struct Reader<'a> {
    pub(crate) files: &'a ModelFiles,
    pub(crate) shape: &'a Shape,
    memory: Arena,
    /// Whether tensors are read, or only checked; in the latter case all results are empty.
    reads: bool,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn new(files: &'a ModelFiles, shape: &'a Shape) -> Reader<'a> {
        Reader { files, shape, memory: Arena::default(), reads: true }
    }

    /// A reader that only checks that tensors exist with the right sizes.
    pub(super) fn of_sizes(files: &'a ModelFiles, shape: &'a Shape) -> Reader<'a> {
        Reader { reads: false, ..Reader::new(files, shape) }
    }

    /// A tensor's raw blocks.
    pub(super) fn bytes(&self, info: &TensorInfo) -> Result<Cow<'a, [u8]>, LoadError> {
        if self.reads { self.files.read(info) } else { Ok(Cow::Borrowed(&[])) }
    }

    pub(crate) fn vector(&self, name: &str, size: usize) -> Result<Vec<f32>, LoadError> {
        let floats = self.floats(name, &[size])?;
        if !floats.iter().all(|float| float.is_finite()) {
            return Err(self.files.corrupt(format!("{name} has values that are not finite")));
        }
        Ok(floats)
    }

    pub(crate) fn maybe_vector(
        &self,
        name: &str,
        size: usize,
    ) -> Result<Option<Vec<f32>>, LoadError> {
        if !self.files.has(name) {
            return Ok(None);
        }
        self.vector(name, size).map(Some)
    }

    /// The weights of a norm, ready to multiply with.
    pub(crate) fn norm(&self, name: &str, size: usize) -> Result<Vec<f32>, LoadError> {
        let mut weights = self.vector(name, size)?;
        let offset = self.files.norm_offset();
        weights.iter_mut().for_each(|weight| *weight += offset);
        Ok(weights)
    }

    /// The norm of single heads, if the family has it.
    pub(crate) fn head_norm(&self, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
        let has_norm = self.shape.architecture.has_head_norms();
        has_norm.then(|| self.norm(name, self.shape.head_size())).transpose()
    }

    /// The norm of an output, if the family has it.
    pub(crate) fn post_norm(&self, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
        let has_norm = self.shape.architecture.has_post_norms();
        has_norm.then(|| self.norm(name, self.shape.width)).transpose()
    }

    /// A matrix without a bias.
    pub(crate) fn matrix(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<PackedMatrix, LoadError> {
        let bias = name.replace(".weight", ".bias");
        if self.files.has(&bias) {
            return Err(self.files.unsupported(format!("tensor {bias}")));
        }
        self.pack(name, inputs, outputs)
    }

    /// The matrices that one tensor stacks.
    pub(crate) fn stacked(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        count: usize,
    ) -> Result<Vec<PackedMatrix>, LoadError> {
        let info = self.files.tensor(name, &[inputs, outputs, count])?;
        let bytes = self.bytes(info)?;
        let matrix_bytes = info.block_type.row_bytes(inputs) * outputs;
        bytes
            .chunks_exact(matrix_bytes)
            .map(|bytes| self.packed(info.block_type, bytes, inputs, outputs))
            .collect::<Option<Vec<PackedMatrix>>>()
            .ok_or_else(|| self.not_finite(name))
    }

    pub(crate) fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, LoadError> {
        Ok(Linear {
            matrix: self.pack(&format!("{name}.weight"), inputs, outputs)?,
            bias: self.maybe_vector(&format!("{name}.bias"), outputs)?,
        })
    }

    /// A tensor of these dimensions as floats.
    pub(crate) fn floats(&self, name: &str, dimensions: &[usize]) -> Result<Vec<f32>, LoadError> {
        let info = self.files.tensor(name, dimensions)?;
        if !self.reads {
            return Ok(Vec::new());
        }
        let mut floats = vec![0.0; info.elements() as usize];
        info.block_type.read_floats(&self.files.read(info)?, &mut floats);
        Ok(floats)
    }

    /// The shape's frequencies, divided by the file's own factors if it has any (Llama 3.1 and later).
    pub(crate) fn rope_frequencies(&self) -> Result<Vec<f64>, LoadError> {
        let mut frequencies = self.shape.rope.frequencies();
        if let Some(factors) = self.maybe_vector("rope_freqs.weight", frequencies.len())? {
            for (frequency, factor) in frequencies.iter_mut().zip(factors) {
                if factor <= 0.0 {
                    return Err(self
                        .files
                        .corrupt("rope_freqs.weight has factors that are not positive"));
                }
                *frequency /= f64::from(factor);
            }
        }
        Ok(frequencies)
    }

    pub(super) fn not_finite(&self, name: &str) -> LoadError {
        self.files.corrupt(format!("{name} has weights or scales that are not finite"))
    }

    fn pack(&self, name: &str, inputs: usize, outputs: usize) -> Result<PackedMatrix, LoadError> {
        let info = self.files.tensor(name, &[inputs, outputs])?;
        self.packed(info.block_type, &self.bytes(info)?, inputs, outputs)
            .ok_or_else(|| self.not_finite(name))
    }

    /// Packs rows of blocks; see [`PackedMatrix::new`].
    pub(super) fn packed(
        &self,
        kind: BlockType,
        blocks: &[u8],
        inputs: usize,
        outputs: usize,
    ) -> Option<PackedMatrix> {
        let outputs = if self.reads { outputs } else { 0 };
        PackedMatrix::new(&self.memory, kind, blocks, inputs, outputs)
    }
}
