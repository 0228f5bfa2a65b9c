//! Copies tensors to the card in pieces, so that the host never holds more than a few of them.

use std::ops::Range;

use super::convert::FileRows;
use super::{Stack, Weight};
use crate::config::CardWeights;
use crate::error::LoadError;
use crate::files::ModelFiles;
use jury_kernels::blocks::BlockType;
use jury_kernels::cuda::{Bf16, Buffer, Card, CudaError, EIGHT_GROUP};

/// Elements that are read, converted and copied at once.
const PIECE: usize = 8 << 20;

/// Reads tensors of a model and puts them on a card.
pub(super) struct Upload<'a> {
    card: &'a Card,
    pub(super) files: &'a ModelFiles,
    kind: CardWeights,
    floats: Vec<f32>,
    rounded: Vec<Bf16>,
    bytes: Vec<u8>,
    scales: Vec<f32>,
}

/// Rows of a tensor.
#[derive(Debug, Clone)]
pub(super) struct TensorRows {
    name: String,
    /// Sizes of the whole tensor, inputs first.
    dimensions: Vec<usize>,
    rows: Range<usize>,
}

// === impl TensorRows ===

impl TensorRows {
    /// A whole matrix.
    pub(super) fn matrix(name: impl Into<String>, inputs: usize, outputs: usize) -> TensorRows {
        TensorRows { name: name.into(), dimensions: vec![inputs, outputs], rows: 0..outputs }
    }

    /// One of `count` matrices that a tensor stacks.
    pub(super) fn stacked(
        name: impl Into<String>,
        [inputs, outputs, count]: [usize; 3],
        index: usize,
    ) -> TensorRows {
        let rows = index * outputs..(index + 1) * outputs;
        TensorRows { name: name.into(), dimensions: vec![inputs, outputs, count], rows }
    }

    /// Some of its rows.
    pub(super) fn within(self, rows: Range<usize>) -> TensorRows {
        let rows = self.rows.start + rows.start..self.rows.start + rows.end;
        TensorRows { rows, ..self }
    }
}

// === impl Upload ===

impl<'a> Upload<'a> {
    pub(super) fn new(card: &'a Card, files: &'a ModelFiles, kind: CardWeights) -> Upload<'a> {
        let (floats, rounded, bytes, scales) = Default::default();
        Upload { card, files, kind, floats, rounded, bytes, scales }
    }

    /// A vector of floats.
    pub(super) fn floats(&self, floats: &[f32]) -> Result<Buffer<f32>, LoadError> {
        Buffer::of(self.card, floats, "norms and biases").map_err(|error| self.failed(&error))
    }

    /// The same, if there is one.
    pub(super) fn maybe_floats(
        &self,
        floats: Option<Vec<f32>>,
    ) -> Result<Option<Buffer<f32>>, LoadError> {
        floats.map(|floats| self.floats(&floats)).transpose()
    }

    /// A matrix of `outputs` rows in the requested type: the tensors one below the other, then zeros.
    pub(super) fn matrix(
        &mut self,
        tensors: &[TensorRows],
        inputs: usize,
        outputs: usize,
    ) -> Result<Weight, LoadError> {
        match self.kind {
            CardWeights::Bfloat16 => self.rounded(tensors, inputs, outputs),
            CardWeights::Int8 => self.eight(tensors, inputs, outputs, 1),
        }
    }

    /// The same for `count` matrices that are multiplied one by one, with `outputs` rows in total.
    pub(super) fn stack(
        &mut self,
        tensors: &[TensorRows],
        inputs: usize,
        outputs: usize,
        count: usize,
    ) -> Result<Stack, LoadError> {
        let weight = match self.kind {
            CardWeights::Bfloat16 => self.rounded(tensors, inputs, outputs)?,
            CardWeights::Int8 => self.eight(tensors, inputs, outputs, count)?,
        };
        Ok(Stack { weight, count })
    }

    /// The same in bfloat16.
    pub(super) fn rounded(
        &mut self,
        tensors: &[TensorRows],
        inputs: usize,
        outputs: usize,
    ) -> Result<Weight, LoadError> {
        let weights = self.buffer(tensors, inputs, outputs)?;
        let mut at = 0;
        for tensor in tensors {
            self.each_piece(tensor, |upload, kind, piece, elements| {
                let first = at;
                at += elements;
                if kind == BlockType::BF16 {
                    let written = weights.write_bytes(first, piece);
                    written.map_err(|error| upload.failed(&error))?;
                    return Ok(are_finite(piece));
                }
                upload.rounded.resize(elements, Bf16::ZERO);
                let are_finite = FileRows { kind, inputs, bytes: piece }.round(&mut upload.rounded);
                let written = weights.write(first, &upload.rounded);
                written.map_err(|error| upload.failed(&error))?;
                Ok(are_finite)
            })?;
        }
        Ok(Weight::Rounded { weights, outputs, inputs })
    }

    /// Tensors of `inputs` rows each, transposed, one below the other, in bfloat16: `outputs` rows in total.
    pub(super) fn turned(
        &mut self,
        tensors: &[TensorRows],
        inputs: usize,
        outputs: usize,
    ) -> Result<Weight, LoadError> {
        let each = outputs / tensors.len().max(1);
        let weights = Buffer::new(self.card, outputs * inputs, "weights");
        let weights = weights.map_err(|error| self.failed(&error))?;
        for (index, tensor) in tensors.iter().enumerate() {
            let mut turned = vec![0.0; each * inputs];
            let mut row = 0;
            self.each_piece(tensor, |upload, kind, piece, elements| {
                let floats = upload.read_to(elements);
                kind.read_floats(piece, floats);
                for weights in floats.chunks_exact(each) {
                    let column = turned[row..].iter_mut().step_by(inputs);
                    column.zip(weights).for_each(|(to, weight)| *to = *weight);
                    row += 1;
                }
                Ok(upload.floats.iter().all(|number| number.is_finite()))
            })?;
            self.floats = turned;
            self.round();
            let written = weights.write(index * each * inputs, &self.rounded);
            written.map_err(|error| self.failed(&error))?;
        }
        Ok(Weight::Rounded { weights, outputs, inputs })
    }

    /// In 8 bits; the scales of each of the `count` matrices are contiguous.
    fn eight(
        &mut self,
        tensors: &[TensorRows],
        inputs: usize,
        outputs: usize,
        count: usize,
    ) -> Result<Weight, LoadError> {
        let bytes = self.buffer(tensors, inputs, outputs)?;
        let (groups, each) = (inputs.div_ceil(EIGHT_GROUP), outputs / count);
        let mut scales = vec![0.0; groups * outputs];
        let mut row = 0;
        for tensor in tensors {
            self.each_piece(tensor, |upload, kind, piece, elements| {
                let Upload { bytes: codes, scales: of_rows, .. } = &mut *upload;
                codes.resize(elements, 0);
                of_rows.resize(elements / inputs * groups, 0.0);
                let are_finite = FileRows { kind, inputs, bytes: piece }.quantise(codes, of_rows);
                let written = bytes.write(row * inputs, codes);
                written.map_err(|error| upload.failed(&error))?;
                for of_row in upload.scales.chunks_exact(groups) {
                    let (matrix, output) = (row / each, row % each);
                    for (group, &scale) in of_row.iter().enumerate() {
                        scales[(matrix * groups + group) * each + output] = scale;
                    }
                    row += 1;
                }
                Ok(are_finite)
            })?;
        }
        let scales = self.floats(&scales)?;
        Ok(Weight::Eight { bytes, scales, outputs, inputs })
    }

    /// Room for a matrix, zeroed where the tensors do not fill it.
    fn buffer<T: jury_kernels::cuda::Plain>(
        &self,
        tensors: &[TensorRows],
        inputs: usize,
        outputs: usize,
    ) -> Result<Buffer<T>, LoadError> {
        let rows: usize = tensors.iter().map(|tensor| tensor.rows.len()).sum();
        let buffer = match rows < outputs {
            true => Buffer::zeroed(self.card, outputs * inputs, "weights"),
            false => Buffer::new(self.card, outputs * inputs, "weights"),
        };
        buffer.map_err(|error| self.failed(&error))
    }

    /// Visits a tensor's rows in pieces, with their type and number of elements; `put` returns whether all are finite.
    fn each_piece(
        &mut self,
        tensor: &TensorRows,
        mut put: impl FnMut(&mut Self, BlockType, &[u8], usize) -> Result<bool, LoadError>,
    ) -> Result<(), LoadError> {
        let TensorRows { name, dimensions, rows } = tensor;
        let files = self.files;
        let info = files.tensor(name, dimensions)?;
        let (kind, inputs) = (info.block_type, dimensions[0]);
        let row_bytes = kind.row_bytes(inputs);
        let most = (PIECE / inputs).max(1);
        for first in rows.clone().step_by(most) {
            let end = rows.end.min(first + most);
            let piece = files.read_part(info, first * row_bytes..end * row_bytes)?;
            if !put(self, kind, &piece, (end - first) * inputs)? {
                return Err(files.corrupt(format!("{name} has weights that are not finite")));
            }
        }
        Ok(())
    }

    /// Room for `elements` floats.
    fn read_to(&mut self, elements: usize) -> &mut [f32] {
        self.floats.resize(elements, 0.0);
        &mut self.floats
    }

    fn round(&mut self) {
        self.rounded.clear();
        self.rounded.extend(self.floats.iter().map(|&float| Bf16::from_f32(float)));
    }

    fn failed(&self, error: &CudaError) -> LoadError {
        LoadError::Device(format!("cuda:{}, loading: {error}", self.card.facts().ordinal))
    }
}

/// Whether bfloat16 numbers, little-endian, are all finite. It checks all of them: without branches this runs at memory
/// speed.
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
