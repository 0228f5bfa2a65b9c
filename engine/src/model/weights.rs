//! A model's weights, packed for the kernels.

use super::Shape;
use crate::error::LoadError;
use crate::gguf::{BlockType, GgufFile, TensorInfo};
use crate::kernels::packed::Packed;

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,
    pub(crate) head: Packed,
    /// Position-dependent rotation: the angle a position turns each pair by.
    pub(crate) rope_frequencies: Vec<f64>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    /// Norms of single heads before rotation (qwen3).
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    pub(crate) output: Linear,
    pub(crate) feed_norm: Vec<f32>,
    pub(crate) gate: Packed,
    pub(crate) up: Packed,
    pub(crate) down: Packed,
}

/// A matrix with an optional bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) matrix: Packed,
    pub(crate) bias: Option<Vec<f32>>,
}

/// The embedding table, as it is in the file: single rows are read on demand.
#[derive(Debug)]
pub(crate) struct Embedding {
    kind: BlockType,
    bytes: Vec<u8>,
    row_bytes: usize,
}

// === impl Embedding ===

impl Embedding {
    /// Reads a token's row.
    pub(crate) fn row(&self, token: u32, out: &mut [f32]) {
        let at = token as usize * self.row_bytes;
        self.kind.read_floats(&self.bytes[at..at + self.row_bytes], out);
    }
}

// === impl Weights ===

impl Weights {
    pub(crate) fn load(file: &GgufFile, shape: &Shape) -> Result<Weights, LoadError> {
        let reader = Reader { file };
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        let queries = shape.heads * shape.head_size;
        let keys = shape.kv_heads * shape.head_size;
        let mut layers = Vec::new();
        for index in 0..shape.layers {
            let name = |part: &str| format!("blk.{index}.{part}");
            layers.push(Layer {
                attention_norm: reader.vector(&name("attn_norm.weight"), width)?,
                query: reader.linear(&name("attn_q"), width, queries)?,
                key: reader.linear(&name("attn_k"), width, keys)?,
                value: reader.linear(&name("attn_v"), width, keys)?,
                query_norm: reader.maybe_vector(&name("attn_q_norm.weight"), shape.head_size)?,
                key_norm: reader.maybe_vector(&name("attn_k_norm.weight"), shape.head_size)?,
                output: reader.linear(&name("attn_output"), queries, width)?,
                feed_norm: reader.vector(&name("ffn_norm.weight"), width)?,
                gate: reader.matrix(&name("ffn_gate.weight"), width, shape.hidden)?,
                up: reader.matrix(&name("ffn_up.weight"), width, shape.hidden)?,
                down: reader.matrix(&name("ffn_down.weight"), shape.hidden, width)?,
            });
        }
        let table = reader.checked("token_embd.weight", &[width, vocabulary])?;
        let embedding = Embedding {
            kind: table.block_type,
            bytes: file.read(table)?,
            row_bytes: table.block_type.row_bytes(width),
        };
        // Without a head of its own, a model uses its embedding table.
        let head = match file.tensors.contains_key("output.weight") {
            true => reader.matrix("output.weight", width, vocabulary)?,
            false => reader.matrix("token_embd.weight", width, vocabulary)?,
        };
        Ok(Weights {
            embedding,
            layers,
            output_norm: reader.vector("output_norm.weight", width)?,
            head,
            rope_frequencies: reader.rope_frequencies(shape)?,
        })
    }
}

/// Reads tensors of expected sizes.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a GgufFile,
}

// === impl Reader ===

impl Reader<'_> {
    pub(crate) fn checked(
        &self,
        name: &str,
        dimensions: &[usize],
    ) -> Result<&TensorInfo, LoadError> {
        let info = self.file.tensor(name)?;
        if info.dimensions != dimensions {
            let found = &info.dimensions;
            return Err(self
                .file
                .corrupt(format!("{name} is {found:?} instead of {dimensions:?}")));
        }
        Ok(info)
    }

    pub(crate) fn vector(&self, name: &str, size: usize) -> Result<Vec<f32>, LoadError> {
        let info = self.checked(name, &[size])?;
        let mut floats = vec![0.0; size];
        info.block_type.read_floats(&self.file.read(info)?, &mut floats);
        if !floats.iter().all(|float: &f32| float.is_finite()) {
            return Err(self.file.corrupt(format!("{name} has values that are not finite")));
        }
        Ok(floats)
    }

    pub(crate) fn maybe_vector(
        &self,
        name: &str,
        size: usize,
    ) -> Result<Option<Vec<f32>>, LoadError> {
        if !self.file.tensors.contains_key(name) {
            return Ok(None);
        }
        self.vector(name, size).map(Some)
    }

    fn matrix(&self, name: &str, inputs: usize, outputs: usize) -> Result<Packed, LoadError> {
        let info = self.checked(name, &[inputs, outputs])?;
        Packed::new(info.block_type, &self.file.read(info)?, inputs, outputs)
            .ok_or_else(|| self.file.corrupt(format!("{name} has scales that are not finite")))
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, LoadError> {
        Ok(Linear {
            matrix: self.matrix(&format!("{name}.weight"), inputs, outputs)?,
            bias: self.maybe_vector(&format!("{name}.bias"), outputs)?,
        })
    }

    pub(crate) fn rope_frequencies(&self, shape: &Shape) -> Result<Vec<f64>, LoadError> {
        let pairs = shape.head_size / 2;
        let factors = self.maybe_vector("rope_freqs.weight", pairs)?;
        Ok((0..pairs)
            .map(|pair| {
                let exponent = -2.0 * pair as f64 / shape.head_size as f64;
                let factor = factors.as_ref().map_or(1.0, |factors| f64::from(factors[pair]));
                libm::pow(shape.rope_base, exponent) / factor
            })
            .collect())
    }
}
