//! Reads tensors of expected sizes and moves them to a device.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Result, Tensor};

use super::Linear;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::{Reader, Shape};
use jury_kernels::blocks::BlockType;

/// Result of loading.
pub(super) type Loaded<T> = std::result::Result<T, LoadError>;

/// The tensors of one model, and the device they go to.
pub(super) struct Loader<'a> {
    reader: Reader<'a>,
    pub(super) files: &'a ModelFiles,
    pub(super) shape: &'a Shape,
    device: &'a Device,
}

// === impl Loader ===

impl<'a> Loader<'a> {
    pub(super) fn new(files: &'a ModelFiles, shape: &'a Shape, device: &'a Device) -> Loader<'a> {
        Loader { reader: Reader::new(files, shape), files, shape, device }
    }

    pub(super) fn rope_frequencies(&self) -> Loaded<Vec<f64>> {
        self.reader.rope_frequencies()
    }

    pub(super) fn norm(&self, name: &str, size: usize) -> Loaded<Tensor> {
        let floats = self.reader.norm(name, size)?;
        Tensor::new(floats, self.device).map_err(|error| failed(&error))
    }

    pub(super) fn head_norm(&self, name: &str) -> Loaded<Option<Tensor>> {
        self.place_maybe(self.reader.head_norm(name)?)
    }

    pub(super) fn post_norm(&self, name: &str) -> Loaded<Option<Tensor>> {
        self.place_maybe(self.reader.post_norm(name)?)
    }

    fn maybe_vector(&self, name: &str, size: usize) -> Loaded<Option<Tensor>> {
        self.place_maybe(self.reader.maybe_vector(name, size)?)
    }

    fn place_maybe(&self, floats: Option<Vec<f32>>) -> Loaded<Option<Tensor>> {
        floats
            .map(|floats| Tensor::new(floats, self.device))
            .transpose()
            .map_err(|error| failed(&error))
    }

    pub(super) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Loaded<Linear> {
        Ok(Linear {
            matrix: self.matrix(&format!("{name}.weight"), inputs, outputs)?,
            bias: self.maybe_vector(&format!("{name}.bias"), outputs)?,
        })
    }

    pub(super) fn matrix(&self, name: &str, inputs: usize, outputs: usize) -> Loaded<QMatMul> {
        let info = self.files.tensor(name, &[inputs, outputs])?;
        let bytes = self.files.read(info)?.into_owned();
        self.place(info.block_type, bytes, inputs, outputs).map_err(|error| failed(&error))
    }

    /// The matrices that one tensor stacks.
    pub(super) fn stacked(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        count: usize,
    ) -> Loaded<Vec<QMatMul>> {
        let info = self.files.tensor(name, &[inputs, outputs, count])?;
        let bytes = self.files.read(info)?;
        let kind = info.block_type;
        bytes
            .chunks_exact(kind.row_bytes(inputs) * outputs)
            .map(|bytes| self.place(kind, bytes.to_vec(), inputs, outputs))
            .collect::<Result<Vec<QMatMul>>>()
            .map_err(|error| failed(&error))
    }

    /// A tensor as floats; `dimensions` in GGUF's order, the contiguous one first.
    pub(super) fn floats(&self, name: &str, dimensions: &[usize]) -> Loaded<Tensor> {
        let floats = self.reader.floats(name, dimensions)?;
        let reversed: Vec<usize> = dimensions.iter().rev().copied().collect();
        Tensor::from_vec(floats, reversed, self.device).map_err(|error| failed(&error))
    }

    fn place(
        &self,
        kind: BlockType,
        bytes: Vec<u8>,
        inputs: usize,
        outputs: usize,
    ) -> Result<QMatMul> {
        let Some(quantised) = quantised(kind) else {
            let mut floats = vec![0.0; inputs * outputs];
            kind.read_floats(&bytes, &mut floats);
            return Ok(QMatMul::Tensor(Tensor::from_vec(floats, (outputs, inputs), self.device)?));
        };
        let storage = QStorage::from_data(Cow::Owned(bytes), self.device, quantised)?;
        QMatMul::from_qtensor(QTensor::new(storage, (outputs, inputs))?)
    }
}

/// candle's name for a block type; `None` for floats.
fn quantised(kind: BlockType) -> Option<GgmlDType> {
    Some(match kind {
        BlockType::F32 | BlockType::F16 | BlockType::BF16 => return None,
        // candle has no products for these.
        BlockType::IQ4_NL | BlockType::IQ4_XS => return None,
        BlockType::Q2_K => GgmlDType::Q2K,
        BlockType::Q3_K => GgmlDType::Q3K,
        BlockType::Q4_0 => GgmlDType::Q4_0,
        BlockType::Q4_1 => GgmlDType::Q4_1,
        BlockType::Q5_0 => GgmlDType::Q5_0,
        BlockType::Q5_1 => GgmlDType::Q5_1,
        BlockType::Q8_0 => GgmlDType::Q8_0,
        BlockType::Q4_K => GgmlDType::Q4K,
        BlockType::Q5_K => GgmlDType::Q5K,
        BlockType::Q6_K => GgmlDType::Q6K,
    })
}

pub(super) fn failed(error: &candle_core::Error) -> LoadError {
    LoadError::Device(error.to_string())
}
