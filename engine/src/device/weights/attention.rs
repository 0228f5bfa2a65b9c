//! The matrices of one layer's attention, except its output.

use candle_core::quantized::QMatMul;
use candle_core::{Result, Tensor};

use super::Linear;
use super::loader::{Loaded, Loader, failed};
use crate::model::shape::Latent;

/// As [`crate::model::weights::Attention`](crate::model::Weights).
#[derive(Debug)]
pub(in crate::device) enum Attention {
    Heads { query: Linear, key: Linear, value: Linear },
    Latent(LatentAttention),
}

/// Latent attention, in absorbed form.
#[derive(Debug)]
pub(in crate::device) struct LatentAttention {
    pub(in crate::device) sizes: Latent,
    pub(in crate::device) query: LatentQuery,
    /// Width to rank + rotated elements.
    pub(in crate::device) down: QMatMul,
    /// Of the latent vector.
    pub(in crate::device) norm: Tensor,
    /// Heads x plain part x rank.
    pub(in crate::device) key_up: Tensor,
    /// Heads x rank x value.
    pub(in crate::device) value_up: Tensor,
}

/// The queries of latent attention.
#[derive(Debug)]
pub(in crate::device) enum LatentQuery {
    Full(QMatMul),
    LowRank { down: QMatMul, norm: Tensor, up: QMatMul },
}

// === impl Attention ===

impl Attention {
    pub(super) fn load(loader: &Loader<'_>, layer: usize) -> Loaded<Attention> {
        let shape = loader.shape;
        if let Some(latent) = shape.latent {
            return LatentAttention::load(loader, layer, latent).map(Attention::Latent);
        }
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (queries, keys) = (shape.heads * shape.key_size, shape.kv_heads * shape.key_size);
        Ok(Attention::Heads {
            query: loader.linear(&name("attn_q"), shape.width, queries)?,
            key: loader.linear(&name("attn_k"), shape.width, keys)?,
            value: loader.linear(
                &name("attn_v"),
                shape.width,
                shape.kv_heads * shape.value_size,
            )?,
        })
    }
}

// === impl LatentAttention ===

impl LatentAttention {
    fn load(loader: &Loader<'_>, layer: usize, sizes: Latent) -> Loaded<LatentAttention> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (width, heads) = (loader.shape.width, loader.shape.heads);
        let queries = heads * sizes.query_size();
        let query = match sizes.query_rank {
            None => LatentQuery::Full(loader.matrix(&name("attn_q"), width, queries)?),
            Some(rank) => LatentQuery::LowRank {
                down: loader.matrix(&name("attn_q_a"), width, rank)?,
                norm: loader.norm(&name("attn_q_a_norm"), rank)?,
                up: loader.matrix(&name("attn_q_b"), rank, queries)?,
            },
        };
        let (key_up, value_up) = load_up(loader, layer, sizes)?;
        let compressed = sizes.rank + sizes.rope_size;
        Ok(LatentAttention {
            sizes,
            query,
            down: loader.matrix(&name("attn_kv_a_mqa"), width, compressed)?,
            norm: loader.norm(&name("attn_kv_a_norm"), sizes.rank)?,
            key_up,
            value_up,
        })
    }
}

/// The matrices of single heads, which files store stacked as two tensors or interleaved as one.
fn load_up(loader: &Loader<'_>, layer: usize, sizes: Latent) -> Loaded<(Tensor, Tensor)> {
    let Latent { rank, nope_size, value_size, .. } = sizes;
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    let heads = loader.shape.heads;
    let turned = |tensor: Tensor| tensor.transpose(1, 2)?.contiguous();
    let parts = if loader.files.has(&name("attn_k_b")) {
        let keys = loader.floats(&name("attn_k_b"), &[nope_size, rank, heads])?;
        let values = loader.floats(&name("attn_v_b"), &[rank, value_size, heads])?;
        turned(keys).and_then(|keys| Ok((keys, turned(values)?)))
    } else {
        let rows = nope_size + value_size;
        let all = loader.floats(&name("attn_kv_b"), &[rank, heads * rows])?;
        let split = || -> Result<(Tensor, Tensor)> {
            let all = all.reshape((heads, rows, rank))?;
            let keys = all.narrow(1, 0, nope_size)?.contiguous()?;
            Ok((keys, turned(all.narrow(1, nope_size, value_size)?)?))
        };
        split()
    };
    parts.map_err(|error| failed(&error))
}
