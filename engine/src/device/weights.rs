//! A model's weights on a device: matrices stay quantised as in the file, vectors are f32.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Result, Tensor};

use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::gguf::BlockType;
use crate::model::forward::Row;
use crate::model::{Shape, WeightReader};
use crate::tensor::TensorInfo;

/// All weights of a model.
#[derive(Debug)]
pub(super) struct Weights {
    /// The embedding table, in host memory: a batch's rows are read and moved.
    table: Vec<u8>,
    table_type: BlockType,
    width: usize,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Tensor,
    pub(super) head: QMatMul,
    pub(super) rope_frequencies: Vec<f64>,
}

/// One layer, with the parts of [`crate::model::Weights`].
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) query_norm: Option<Tensor>,
    pub(super) key_norm: Option<Tensor>,
    pub(super) output: Linear,
    pub(super) feed_norm: Tensor,
    pub(super) gate: QMatMul,
    pub(super) up: QMatMul,
    pub(super) down: QMatMul,
}

/// A matrix with an optional bias.
#[derive(Debug)]
pub(super) struct Linear {
    matrix: QMatMul,
    bias: Option<Tensor>,
}

struct Loader<'a> {
    reader: WeightReader<'a>,
    files: &'a ModelFiles,
    device: &'a Device,
}

// === impl Linear ===

impl Linear {
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.matrix.forward(x)?;
        match &self.bias {
            None => Ok(y),
            Some(bias) => y.broadcast_add(bias),
        }
    }
}

// === impl Weights ===

impl Weights {
    pub(super) fn load(
        files: &ModelFiles,
        shape: &Shape,
        device: &Device,
    ) -> std::result::Result<Weights, LoadError> {
        let loader = Loader { reader: WeightReader::new(files, shape), files, device };
        let (width, vocabulary, hidden) = (shape.width, shape.vocabulary, shape.hidden);
        let queries = shape.heads * shape.head_size();
        let keys = shape.kv_heads * shape.head_size();
        let mut layers = Vec::new();
        for index in 0..shape.layers {
            let name = |part: &str| format!("blk.{index}.{part}");
            layers.push(Layer {
                attention_norm: loader.norm(&name("attn_norm.weight"), width)?,
                query: loader.linear(&name("attn_q"), width, queries)?,
                key: loader.linear(&name("attn_k"), width, keys)?,
                value: loader.linear(&name("attn_v"), width, keys)?,
                query_norm: loader.head_norm(&name("attn_q_norm.weight"))?,
                key_norm: loader.head_norm(&name("attn_k_norm.weight"))?,
                output: loader.linear(&name("attn_output"), queries, width)?,
                feed_norm: loader.norm(&name("ffn_norm.weight"), width)?,
                gate: loader.matrix(&name("ffn_gate.weight"), width, hidden)?,
                up: loader.matrix(&name("ffn_up.weight"), width, hidden)?,
                down: loader.matrix(&name("ffn_down.weight"), hidden, width)?,
            });
        }
        let table = files.tensor("token_embd.weight", &[width, vocabulary])?;
        // Without a head of its own, a model uses its embedding table.
        let head = match files.has("output.weight") {
            true => "output.weight",
            false => "token_embd.weight",
        };
        Ok(Weights {
            table: files.read(table)?.into_owned(),
            table_type: table.block_type,
            width,
            layers,
            output_norm: loader.norm("output_norm.weight", width)?,
            head: loader.matrix(head, width, vocabulary)?,
            rope_frequencies: loader.reader.rope_frequencies()?,
        })
    }

    /// The rows' embeddings: rows x width.
    pub(super) fn embed(&self, rows: &[Row], device: &Device) -> Result<Tensor> {
        let row_bytes = self.table_type.row_bytes(self.width);
        let mut floats = vec![0.0; rows.len() * self.width];
        for (row, floats) in rows.iter().zip(floats.chunks_exact_mut(self.width)) {
            let bytes = &self.table[row.token as usize * row_bytes..][..row_bytes];
            self.table_type.read_floats(bytes, floats);
        }
        Tensor::from_vec(floats, (rows.len(), self.width), device)
    }
}

// === impl Loader ===

impl Loader<'_> {
    fn norm(&self, name: &str, size: usize) -> std::result::Result<Tensor, LoadError> {
        let floats = self.reader.norm(name, size)?;
        Tensor::new(floats, self.device).map_err(|error| failed(&error))
    }

    fn head_norm(&self, name: &str) -> std::result::Result<Option<Tensor>, LoadError> {
        self.place_maybe(self.reader.head_norm(name)?)
    }

    fn maybe_vector(
        &self,
        name: &str,
        size: usize,
    ) -> std::result::Result<Option<Tensor>, LoadError> {
        self.place_maybe(self.reader.maybe_vector(name, size)?)
    }

    fn place_maybe(
        &self,
        floats: Option<Vec<f32>>,
    ) -> std::result::Result<Option<Tensor>, LoadError> {
        floats
            .map(|floats| Tensor::new(floats, self.device))
            .transpose()
            .map_err(|error| failed(&error))
    }

    fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Linear, LoadError> {
        Ok(Linear {
            matrix: self.matrix(&format!("{name}.weight"), inputs, outputs)?,
            bias: self.maybe_vector(&format!("{name}.bias"), outputs)?,
        })
    }

    fn matrix(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<QMatMul, LoadError> {
        let info = self.files.tensor(name, &[inputs, outputs])?;
        let bytes = self.files.read(info)?.into_owned();
        self.place(info, bytes, inputs, outputs).map_err(|error| failed(&error))
    }

    fn place(
        &self,
        info: &TensorInfo,
        bytes: Vec<u8>,
        inputs: usize,
        outputs: usize,
    ) -> Result<QMatMul> {
        let Some(kind) = quantised(info.block_type) else {
            let mut floats = vec![0.0; inputs * outputs];
            info.block_type.read_floats(&bytes, &mut floats);
            return Ok(QMatMul::Tensor(Tensor::from_vec(floats, (outputs, inputs), self.device)?));
        };
        let storage = QStorage::from_data(Cow::Owned(bytes), self.device, kind)?;
        QMatMul::from_qtensor(QTensor::new(storage, (outputs, inputs))?)
    }
}

/// candle's name of a block type; `None` for floats.
fn quantised(kind: BlockType) -> Option<GgmlDType> {
    Some(match kind {
        BlockType::F32 | BlockType::F16 | BlockType::BF16 => return None,
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

fn failed(error: &candle_core::Error) -> LoadError {
    LoadError::Device(error.to_string())
}
