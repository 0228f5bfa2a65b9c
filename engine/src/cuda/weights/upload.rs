//! Tensors on their way to the card.

use super::Weight;
use crate::config::CardWeights;
use crate::error::LoadError;
use crate::files::ModelFiles;
use jury_kernels::blocks::BlockType;
use jury_kernels::cuda::{Bf16, Buffer, Card, CudaError, EIGHT_GROUP, quantise_eight};

/// Elements that are converted and copied at once.
const PIECE: usize = 8 << 20;

/// Reads tensors of a model and puts them on a card.
pub(super) struct Upload<'a, F> {
    card: &'a Card,
    files: &'a ModelFiles,
    kind: CardWeights,
    failed: F,
    floats: Vec<f32>,
    rounded: Vec<Bf16>,
    bytes: Vec<u8>,
}

// === impl Upload ===

impl<'a, F: Fn(CudaError) -> LoadError + Copy> Upload<'a, F> {
    pub(super) fn new(
        card: &'a Card,
        files: &'a ModelFiles,
        kind: CardWeights,
        failed: F,
    ) -> Upload<'a, F> {
        let (floats, rounded, bytes) = (Vec::new(), Vec::new(), Vec::new());
        Upload { card, files, kind, failed, floats, rounded, bytes }
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
    ) -> Result<Weight, LoadError> {
        let tensors: Vec<(&str, usize)> =
            tensors.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
        self.matrix(&tensors, inputs, outputs)
    }

    /// A matrix of `outputs` rows, kept as was asked for: the tensors, by name and rows, one below the other, and zeros below them.
    pub(super) fn matrix(
        &mut self,
        tensors: &[(&str, usize)],
        inputs: usize,
        outputs: usize,
    ) -> Result<Weight, LoadError> {
        match self.kind {
            CardWeights::Bfloat16 => self.rounded(tensors, inputs, outputs),
            CardWeights::Int8 => self.eight(tensors, inputs, outputs),
        }
    }

    /// The same in bfloat16.
    pub(super) fn rounded(
        &mut self,
        tensors: &[(&str, usize)],
        inputs: usize,
        outputs: usize,
    ) -> Result<Weight, LoadError> {
        let failed = self.failed;
        let weights = self.buffer(tensors, inputs, outputs)?;
        let mut at = 0;
        for &(name, rows) in tensors {
            self.each_piece(name, inputs, rows, |upload, kind, piece, elements| {
                let first = at;
                at += elements;
                if kind == BlockType::BF16 {
                    weights.write_bytes(first, piece).map_err(failed)?;
                    return Ok(are_finite(piece));
                }
                upload.round(kind, piece, elements);
                weights.write(first, &upload.rounded).map_err(failed)?;
                Ok(upload.rounded.iter().all(|number| number.is_finite()))
            })?;
        }
        Ok(Weight::Rounded { weights, outputs, inputs })
    }

    /// The same in 8 bits.
    fn eight(
        &mut self,
        tensors: &[(&str, usize)],
        inputs: usize,
        outputs: usize,
    ) -> Result<Weight, LoadError> {
        let failed = self.failed;
        let bytes = self.buffer(tensors, inputs, outputs)?;
        let mut scales = vec![0.0; inputs.div_ceil(EIGHT_GROUP) * outputs];
        let mut row = 0;
        for &(name, rows) in tensors {
            self.each_piece(name, inputs, rows, |upload, kind, piece, elements| {
                upload.floats.resize(elements, 0.0);
                kind.read_floats(piece, &mut upload.floats);
                upload.bytes.clear();
                let first = row;
                for weights in upload.floats.chunks_exact(inputs) {
                    let scale = |group: usize, scale| scales[group * outputs + row] = scale;
                    quantise_eight(weights, &mut upload.bytes, scale);
                    row += 1;
                }
                bytes.write(first * inputs, &upload.bytes).map_err(failed)?;
                Ok(upload.floats.iter().all(|number| number.is_finite()))
            })?;
        }
        let scales = self.floats(&scales)?;
        Ok(Weight::Eight { bytes, scales, outputs, inputs })
    }

    /// Room for a matrix, zeroed where the tensors do not fill it.
    fn buffer<T: jury_kernels::cuda::Plain>(
        &self,
        tensors: &[(&str, usize)],
        inputs: usize,
        outputs: usize,
    ) -> Result<Buffer<T>, LoadError> {
        let rows: usize = tensors.iter().map(|(_, rows)| rows).sum();
        let buffer = match rows < outputs {
            true => Buffer::zeroed(self.card, outputs * inputs, "weights"),
            false => Buffer::new(self.card, outputs * inputs, "weights"),
        };
        buffer.map_err(self.failed)
    }

    /// Visits a tensor's rows in pieces, with their type and number of elements; `put` says whether all are finite.
    fn each_piece(
        &mut self,
        name: &str,
        inputs: usize,
        rows: usize,
        mut put: impl FnMut(&mut Self, BlockType, &[u8], usize) -> Result<bool, LoadError>,
    ) -> Result<(), LoadError> {
        let files = self.files;
        let info = files.tensor(name, &[inputs, rows])?;
        let bytes = files.read(info)?;
        let kind = info.block_type;
        let row_bytes = kind.row_bytes(inputs);
        for piece in bytes.chunks(row_bytes * (PIECE / inputs).max(1)) {
            if !put(self, kind, piece, piece.len() / row_bytes * inputs)? {
                return Err(files.corrupt(format!("{name} has weights that are not finite")));
            }
        }
        Ok(())
    }

    fn round(&mut self, kind: BlockType, bytes: &[u8], elements: usize) {
        self.rounded.clear();
        self.floats.resize(elements, 0.0);
        kind.read_floats(bytes, &mut self.floats);
        self.rounded.extend(self.floats.iter().map(|&float| Bf16::from_f32(float)));
    }
}

/// Whether bfloat16 numbers, lower bytes first, are all finite. Looks at all of them: without branches that is as fast as memory.
fn are_finite(bytes: &[u8]) -> bool {
    const EXPONENT: u16 = 0x7f80;
    let odd = |&two: &[u8; 2]| u16::from(u16::from_le_bytes(two) & EXPONENT == EXPONENT);
    bytes.as_chunks().0.iter().fold(0, |any, two| any | odd(two)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_found() {
        let bytes = |numbers: &[f32]| -> Vec<u8> {
            numbers.iter().flat_map(|&number| Bf16::from_f32(number).to_le_bytes()).collect()
        };
        assert!(are_finite(&bytes(&[0.0, -1.5, f32::MIN_POSITIVE, 1e38])));
        assert!(!are_finite(&bytes(&[0.0, f32::NEG_INFINITY])));
        assert!(!are_finite(&bytes(&[f32::NAN, 2.0])));
    }
}
