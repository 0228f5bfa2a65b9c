//! From normalised rows to queries, keys and values; for latent attention in absorbed form.

use candle_core::{Module, Result, Tensor};

use super::norm;
use super::rotation::Turns;
use super::weights::{Attention, LatentAttention, LatentQuery, Layer, Linear};
use crate::model::Shape;
use crate::model::shape::Latent;

/// Inputs of attention.
pub(super) struct Projected {
    /// Rows x heads x key size.
    pub(super) queries: Tensor,
    /// Rows x (key heads x key size).
    pub(super) keys: Tensor,
    /// Rows x (key heads x value size); `None` if a value is the beginning of its key.
    pub(super) values: Option<Tensor>,
}

// === impl Layer ===

impl Layer {
    pub(super) fn project(
        &self,
        shape: &Shape,
        turns: &Turns,
        normed: &Tensor,
    ) -> Result<Projected> {
        let (query, key, value) = match &self.attention {
            Attention::Heads { query, key, value } => (query, key, value),
            Attention::Latent(latent) => return latent.project(shape, turns, normed),
        };
        let turned = |linear: &Linear, norm: Option<&Tensor>, heads: usize| -> Result<Tensor> {
            let mut all = linear.forward(normed)?.reshape(((), heads, shape.key_size))?;
            if let Some(weight) = norm {
                all = self::norm(&all, weight, f64::from(shape.norm_epsilon))?;
            }
            turns.rotate(shape.rope.pairs, &all)
        };
        Ok(Projected {
            queries: turned(query, self.query_norm.as_ref(), shape.heads)?,
            keys: turned(key, self.key_norm.as_ref(), shape.kv_heads)?.flatten_from(1)?,
            values: Some(value.forward(normed)?),
        })
    }
}

// === impl LatentAttention ===

impl LatentAttention {
    fn project(&self, shape: &Shape, turns: &Turns, normed: &Tensor) -> Result<Projected> {
        let Latent { rank, rope_size, nope_size, .. } = self.sizes;
        let epsilon = f64::from(shape.norm_epsilon);
        let queries = match &self.query {
            LatentQuery::Full(query) => query.forward(normed)?,
            LatentQuery::LowRank { down, norm: weight, up } => {
                up.forward(&norm(&down.forward(normed)?, weight, epsilon)?)?
            }
        };
        let queries = queries.reshape(((), shape.heads, nope_size + rope_size))?;
        let plain = queries.narrow(2, 0, nope_size)?.transpose(0, 1)?.contiguous()?;
        let absorbed = plain.matmul(&self.key_up)?.transpose(0, 1)?;
        let turned = turns.rotate(shape.rope.pairs, &queries.narrow(2, nope_size, rope_size)?)?;
        let compressed = self.down.forward(normed)?;
        let latent = norm(&compressed.narrow(1, 0, rank)?, &self.norm, epsilon)?;
        let shared = compressed.narrow(1, rank, rope_size)?.unsqueeze(1)?;
        let shared = turns.rotate(shape.rope.pairs, &shared)?.squeeze(1)?;
        Ok(Projected {
            queries: Tensor::cat(&[absorbed, turned], 2)?,
            keys: Tensor::cat(&[latent, shared], 1)?,
            values: None,
        })
    }

    /// Extracts every head's values from its attention outputs: rows x (heads x value size).
    pub(super) fn expand(&self, attended: &Tensor) -> Result<Tensor> {
        let (heads, rank, _) = self.value_up.dims3()?;
        let by_head = attended.reshape(((), heads, rank))?.transpose(0, 1)?.contiguous()?;
        by_head.matmul(&self.value_up)?.transpose(0, 1)?.flatten_from(1)
    }
}
