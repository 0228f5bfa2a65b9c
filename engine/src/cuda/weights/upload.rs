//! Tensors on their way to the card.

use crate::error::LoadError;
use crate::files::ModelFiles;
use jury_kernels::blocks::BlockType;
use jury_kernels::cuda::{Bf16, Buffer, Card, CudaError};

/// Elements that are converted and copied at once.
const PIECE: usize = 8 << 20;

/// Reads tensors of a model and puts them on a card.
pub(super) struct Upload<'a, F> {
    card: &'a Card,
    files: &'a ModelFiles,
    failed: F,
    floats: Vec<f32>,
    rounded: Vec<Bf16>,
}

// === impl Upload ===

impl<'a, F: Fn(CudaError) -> LoadError + Copy> Upload<'a, F> {
    pub(super) fn new(
        card: &'a Card,
        files: &'a ModelFiles,
        failed: F,
    ) -> Result<Upload<'a, F>, CudaError> {
        Ok(Upload { card, files, failed, floats: Vec::new(), rounded: Vec::new() })
    }

    /// A vector of floats.
    pub(super) fn floats(&self, floats: &[f32]) -> Result<Buffer<f32>, LoadError> {
        Buffer::of(self.card, floats, "norms and biases").map_err(self.failed)
    }

    /// As [`Upload::matrix`].
    pub(super) fn stacked(
        &mut self,
        tensors: &[(String, usize)],
        inputs: usize,
        outputs: usize,
    ) -> Result<Buffer<Bf16>, LoadError> {
        let tensors: Vec<(&str, usize)> =
            tensors.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
        self.matrix(&tensors, inputs, outputs)
    }

    /// A matrix of `outputs` rows: the tensors, by name and rows, one below the other, and zeros below them.
    pub(super) fn matrix(
        &mut self,
        tensors: &[(&str, usize)],
        inputs: usize,
        outputs: usize,
    ) -> Result<Buffer<Bf16>, LoadError> {
        let rows: usize = tensors.iter().map(|(_, rows)| rows).sum();
        let matrix = match rows < outputs {
            true => Buffer::zeroed(self.card, outputs * inputs, "weights"),
            false => Buffer::new(self.card, outputs * inputs, "weights"),
        };
        let matrix = matrix.map_err(self.failed)?;
        let mut at = 0;
        for &(name, rows) in tensors {
            self.put(name, inputs, rows, &matrix, at)?;
            at += rows * inputs;
        }
        Ok(matrix)
    }

    /// Rounds a tensor piece by piece and copies it to its place.
    fn put(
        &mut self,
        name: &str,
        inputs: usize,
        rows: usize,
        to: &Buffer<Bf16>,
        mut at: usize,
    ) -> Result<(), LoadError> {
        let info = self.files.tensor(name, &[inputs, rows])?;
        let bytes = self.files.read(info)?;
        let kind = info.block_type;
        let piece_rows = (PIECE / inputs).max(1);
        for piece in bytes.chunks(kind.row_bytes(inputs) * piece_rows) {
            let elements = piece.len() / kind.row_bytes(inputs) * inputs;
            self.round(kind, piece, elements);
            if !self.rounded.iter().all(|number| number.is_finite()) {
                return Err(self.files.corrupt(format!("{name} has weights that are not finite")));
            }
            to.write(at, &self.rounded).map_err(self.failed)?;
            at += elements;
        }
        Ok(())
    }

    fn round(&mut self, kind: BlockType, bytes: &[u8], elements: usize) {
        self.rounded.clear();
        if kind == BlockType::BF16 {
            let words = bytes.as_chunks().0.iter();
            self.rounded.extend(words.map(|&word| Bf16::from_bits(u16::from_le_bytes(word))));
            return;
        }
        self.floats.resize(elements, 0.0);
        kind.read_floats(bytes, &mut self.floats);
        self.rounded.extend(self.floats.iter().map(|&float| Bf16::from_f32(float)));
    }
}
