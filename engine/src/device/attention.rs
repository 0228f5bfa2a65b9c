//! Keys and values on a device, and attention of one cluster's rows to them.
//!
//! ```text
//! store: slots x (key heads x head size); slot = page * 64 + place in the page
//! scores: [all rows x shared tokens : one product a key head] [row x its own tokens, padded] + mask -> softmax
//! ```
//!
//! Tokens of a cluster are numbered as in its sequences: shared first, own ones after. The mask hides what lies
//! after a row's position, and with it the padding. Indices and masks are made once a batch for all layers.

#[cfg(test)]
mod tests;

use candle_core::{D, DType, Device, Result, Tensor};

use crate::model::attention::Cluster;
use crate::model::kv::{PAGE_TOKENS, Segment};

/// One layer's keys and values.
#[derive(Debug)]
pub(super) struct LayerStore {
    keys: Tensor,
    values: Tensor,
}

/// Which rows a cluster has, and which slots they see.
pub(super) struct ClusterPlan {
    first_row: usize,
    rows: usize,
    /// Slots of the shared tokens.
    shared: Tensor,
    /// For every row the slots of its own tokens, as many as the longest has; `None` where nobody has any.
    own: Option<Tensor>,
    /// 1 x (rows x queries a key head) x (shared and own tokens): 0, or minus infinity where nothing may be seen.
    mask: Tensor,
}

// === impl LayerStore ===

impl LayerStore {
    pub(super) fn new(elements: usize, device: &Device) -> Result<LayerStore> {
        let empty = || Tensor::zeros((PAGE_TOKENS, elements), DType::F32, device);
        Ok(LayerStore { keys: empty()?, values: empty()? })
    }

    /// Makes room for at least `slots`, in doublings.
    pub(super) fn grow(&mut self, slots: usize) -> Result<()> {
        let (now, elements) = self.keys.dims2()?;
        if slots > now {
            let more = (slots.max(now * 2) - now, elements);
            for part in [&mut self.keys, &mut self.values] {
                let room = Tensor::zeros(more, DType::F32, part.device())?;
                *part = Tensor::cat(&[&*part, &room], 0)?;
            }
        }
        Ok(())
    }

    /// Writes rows of keys and values; `slots` has a row's slot once for each of its elements.
    pub(super) fn put(&self, slots: &Tensor, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.keys.scatter_set(slots, &keys.contiguous()?, 0)?;
        self.values.scatter_set(slots, &values.contiguous()?, 0)
    }
}

// === impl ClusterPlan ===

impl ClusterPlan {
    /// `positions` are those of the batch's rows.
    pub(super) fn new(
        cluster: &Cluster,
        positions: &[usize],
        heads_per_kv: usize,
        device: &Device,
    ) -> Result<ClusterPlan> {
        let shared = slots(&cluster.shared);
        let owns: Vec<(usize, Vec<u32>)> = cluster
            .members
            .iter()
            .flat_map(|member| member.rows.clone().map(|row| (row, slots(&member.own))))
            .collect();
        let (first_row, rows) = (owns.first().map_or(0, |&(row, _)| row), owns.len());
        let longest = owns.iter().map(|(_, own)| own.len()).max().unwrap_or(0);
        let tokens = shared.len() + longest;
        let mut mask = Vec::with_capacity(rows * heads_per_kv * tokens);
        let mut padded = Vec::with_capacity(rows * longest);
        for (index, (row, mut own)) in owns.into_iter().enumerate() {
            debug_assert_eq!(row, first_row + index, "a cluster's rows are neighbours");
            own.resize(longest, 0);
            padded.extend(own);
            for _ in 0..heads_per_kv {
                let hidden = |token| if token > positions[row] { f32::NEG_INFINITY } else { 0.0 };
                mask.extend((0..tokens).map(hidden));
            }
        }
        Ok(ClusterPlan {
            first_row,
            rows,
            shared: Tensor::new(shared, device)?,
            own: match longest {
                0 => None,
                _ => Some(Tensor::new(padded, device)?),
            },
            mask: Tensor::from_vec(mask, (1, rows * heads_per_kv, tokens), device)?,
        })
    }

    /// What this cluster's rows attend to: rows x (heads x head size). `queries` are the whole batch's.
    pub(super) fn attend(
        &self,
        store: &LayerStore,
        queries: &Tensor,
        kv_heads: usize,
    ) -> Result<Tensor> {
        let (_, heads, size) = queries.dims3()?;
        let (rows, per_kv) = (self.rows, heads / kv_heads);
        let split = (rows, kv_heads, per_kv, size);
        let by_row = (queries.narrow(0, self.first_row, rows)?.reshape(split)?
            * (1.0 / (size as f64).sqrt()))?;
        let by_head = by_row.transpose(0, 1)?.reshape((kv_heads, rows * per_kv, size))?;
        let gather = |part: &Tensor| -> Result<Tensor> {
            let shape = (self.shared.elem_count(), kv_heads, size);
            part.index_select(&self.shared, 0)?.reshape(shape)?.transpose(0, 1)?.contiguous()
        };
        let gather_own = |part: &Tensor, own: &Tensor| -> Result<Tensor> {
            let shape = (rows, own.elem_count() / rows, kv_heads, size);
            part.index_select(own, 0)?.reshape(shape)?.transpose(1, 2)?.contiguous()
        };
        let shared = by_head.matmul(&gather(&store.keys)?.transpose(1, 2)?)?;
        let shared_tokens = shared.dim(2)?;
        let Some(own) = &self.own else {
            let weights = softmax(&shared.broadcast_add(&self.mask)?)?;
            return join(&weights.matmul(&gather(&store.values)?)?, split);
        };
        let scores = by_row.matmul(&gather_own(&store.keys, own)?.transpose(2, 3)?)?;
        let own_tokens = scores.dim(3)?;
        let scores = scores.transpose(0, 1)?.reshape((kv_heads, rows * per_kv, own_tokens))?;
        let weights = softmax(&Tensor::cat(&[shared, scores], 2)?.broadcast_add(&self.mask)?)?;
        let of_shared = weights.narrow(2, 0, shared_tokens)?.contiguous()?;
        let of_own = weights
            .narrow(2, shared_tokens, own_tokens)?
            .reshape((kv_heads, rows, per_kv, own_tokens))?
            .transpose(0, 1)?
            .contiguous()?;
        let own = of_own.matmul(&gather_own(&store.values, own)?)?;
        join(&of_shared.matmul(&gather(&store.values)?)?, split)?
            + own.reshape((rows, heads * size))?
    }
}

/// Key heads x (rows x queries) x size becomes rows x (heads x size).
fn join(by_head: &Tensor, split: (usize, usize, usize, usize)) -> Result<Tensor> {
    let (rows, kv_heads, per_kv, size) = split;
    by_head.reshape((kv_heads, rows, per_kv, size))?.transpose(0, 1)?.reshape((rows, ()))
}

fn slots(segments: &[Segment]) -> Vec<u32> {
    let of = |segment: &Segment| {
        let first = segment.page * PAGE_TOKENS as u32;
        first..first + segment.tokens as u32
    };
    segments.iter().flat_map(of).collect()
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let top = scores.max_keepdim(D::Minus1)?;
    let weights = scores.broadcast_sub(&top)?.exp()?;
    weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)
}
