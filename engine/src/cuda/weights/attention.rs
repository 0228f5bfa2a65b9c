//! The weights of one layer's attention.

use super::upload::{TensorRows, Upload};
use super::{Stack, Weight, refuse_biases};
use crate::cuda::sizes::projected;
use crate::error::LoadError;
use crate::model::Reader;
use crate::model::shape::Latent;
use jury_kernels::cuda::Buffer;

/// Attention of one layer.
#[derive(Debug)]
pub(crate) struct Attention {
    /// (Queries, keys, values) x width; for latent attention (queries, latent vector, rotated part of the key) x width.
    pub(crate) projections: Weight,
    pub(crate) heads: HeadWeights,
    /// Width x heads' values.
    pub(crate) output: Weight,
}

/// What comes between the projections and the output.
#[derive(Debug)]
pub(crate) enum HeadWeights {
    /// Separate keys and values for every head, or for groups of heads.
    Own(OwnHeads),
    Latent(LatentWeights),
}

/// Biases of queries, keys and values, and norms of single heads, if the family has them.
#[derive(Debug)]
pub(crate) struct OwnHeads {
    pub(crate) bias: Option<Buffer<f32>>,
    pub(crate) query_norm: Option<Buffer<f32>>,
    pub(crate) key_norm: Option<Buffer<f32>>,
}

/// One latent vector for all heads: see [`Latent`].
#[derive(Debug)]
pub(crate) struct LatentWeights {
    pub(crate) sizes: Latent,
    /// Norm of the latent vector.
    pub(crate) norm: Buffer<f32>,
    /// For every head: maps its query's unrotated part to rank elements.
    pub(crate) key_up: Stack,
    /// For every head: maps its attended latent vector to its values.
    pub(crate) value_up: Stack,
}

// === impl Attention ===

impl Attention {
    pub(super) fn load(
        upload: &mut Upload<'_>,
        reader: &Reader<'_>,
        layer: usize,
    ) -> Result<Attention, LoadError> {
        let shape = reader.shape;
        refuse_biases(reader, layer, &["attn_output"])?;
        let weight = |part: &str| format!("blk.{layer}.{part}.weight");
        let (heads, parts) = match shape.latent {
            Some(latent) => {
                refuse_biases(reader, layer, &["attn_q", "attn_kv_a_mqa"])?;
                let queries = shape.heads * latent.query_size();
                let parts = vec![("attn_q", queries), ("attn_kv_a_mqa", shape.key_size)];
                let weights = LatentWeights::load(upload, reader, layer, latent)?;
                (HeadWeights::Latent(weights), parts)
            }
            None => {
                let keys = shape.kv_heads * shape.key_size;
                let queries = shape.heads * shape.key_size;
                let parts = vec![("attn_q", queries), ("attn_k", keys), ("attn_v", keys)];
                (HeadWeights::Own(OwnHeads::load(upload, reader, layer, &parts)?), parts)
            }
        };
        let matrices = parts
            .iter()
            .map(|(part, outputs)| TensorRows::matrix(weight(part), shape.width, *outputs));
        let matrices: Vec<TensorRows> = matrices.collect();
        let attended =
            shape.heads * shape.latent.map_or(shape.value_size, |latent| latent.value_size);
        let output = TensorRows::matrix(weight("attn_output"), attended, shape.width);
        Ok(Attention {
            projections: upload.matrix(&matrices, shape.width, projected(shape))?,
            heads,
            output: upload.matrix(&[output], attended, shape.width)?,
        })
    }
}

// === impl OwnHeads ===

impl OwnHeads {
    fn load(
        upload: &Upload<'_>,
        reader: &Reader<'_>,
        layer: usize,
        parts: &[(&str, usize)],
    ) -> Result<OwnHeads, LoadError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let mut bias = Vec::new();
        let mut has_bias = false;
        for (part, outputs) in parts {
            let found = reader.maybe_vector(&name(&format!("{part}.bias")), *outputs)?;
            has_bias |= found.is_some();
            bias.extend(found.unwrap_or_else(|| vec![0.0; *outputs]));
        }
        let query_norm = reader.head_norm(&name("attn_q_norm.weight"))?;
        let key_norm = reader.head_norm(&name("attn_k_norm.weight"))?;
        Ok(OwnHeads {
            bias: upload.maybe_floats(has_bias.then_some(bias))?,
            query_norm: upload.maybe_floats(query_norm)?,
            key_norm: upload.maybe_floats(key_norm)?,
        })
    }
}

// === impl LatentWeights ===

impl LatentWeights {
    fn load(
        upload: &mut Upload<'_>,
        reader: &Reader<'_>,
        layer: usize,
        latent: Latent,
    ) -> Result<LatentWeights, LoadError> {
        let Latent { rank, nope_size, value_size, .. } = latent;
        let heads = reader.shape.heads;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let norm = upload.floats(&reader.norm(&name("attn_kv_a_norm"), rank)?)?;
        let (key_up, value_up) = if reader.files.has(&name("attn_k_b")) {
            let of = |part: &str, inputs, outputs| -> Vec<TensorRows> {
                let sizes = [inputs, outputs, heads];
                (0..heads).map(|head| TensorRows::stacked(name(part), sizes, head)).collect()
            };
            let keys = of("attn_k_b", nope_size, rank);
            let values = of("attn_v_b", rank, value_size);
            let key_up = upload.rounded(&keys, nope_size, heads * rank)?;
            (key_up, upload.rounded(&values, rank, heads * value_size)?)
        } else {
            // One matrix makes all heads' keys and values; queries are multiplied with the transpose of the keys' part.
            let both =
                TensorRows::matrix(name("attn_kv_b"), rank, heads * (nope_size + value_size));
            let of = |skipped: usize, size: usize| -> Vec<TensorRows> {
                let first = |head: usize| head * (nope_size + value_size) + skipped;
                let rows = (0..heads).map(|head| first(head)..first(head) + size);
                rows.map(|rows| both.clone().within(rows)).collect()
            };
            let (keys, values) = (of(0, nope_size), of(nope_size, value_size));
            let key_up = upload.turned(&keys, nope_size, heads * rank)?;
            (key_up, upload.rounded(&values, rank, heads * value_size)?)
        };
        let stack = |weight| Stack { weight, count: heads };
        Ok(LatentWeights { sizes: latent, norm, key_up: stack(key_up), value_up: stack(value_up) })
    }
}
