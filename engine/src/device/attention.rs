//! Keys and values on a device, and attention of one cluster's rows to them.
//!
//! ```text
//! store: slots x (key heads x key or value size); slot = page * 64 + index in the page
//! scores: [all rows x shared tokens: one product per key head] [row x its own tokens, padded] + mask -> softmax
//! ```
//!
//! Tokens of a cluster are numbered as in its sequences: shared ones first, then own ones. The mask hides the tokens
//! after a row's position, and with them the padding; in layers with a window, another mask also hides those before it.
//! Indices and masks are made once per batch for all layers.

#[cfg(test)]
mod tests;

use candle_core::{D, DType, Device, Result, Tensor};

use crate::model::attention::Cluster;
use crate::model::kv::{PAGE_TOKENS, Segment};

/// One layer's keys and values.
#[derive(Debug)]
pub(super) struct LayerStore {
    keys: Tensor,
    /// `None` if a value is the beginning of its key.
    values: Option<Tensor>,
}

/// Which rows a cluster has, and which slots they see.
pub(super) struct ClusterPlan {
    first_row: usize,
    rows: usize,
    /// Slots of the shared tokens.
    shared: Tensor,
    /// For every row the slots of its own tokens, padded to the longest; `None` if no row has any.
    own: Option<Tensor>,
    /// 1 x (rows x queries per key head) x (shared and own tokens): 0, or minus infinity for hidden tokens.
    mask: Tensor,
    /// The same for layers with a window.
    window_mask: Option<Tensor>,
}

/// How a layer's scores are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scoring {
    pub(super) kv_heads: usize,
    pub(super) key_size: usize,
    pub(super) value_size: usize,
    /// Factor of the scores.
    pub(super) scale: f64,
    /// Then scores become `cap * tanh(score / cap)`.
    pub(super) softcap: Option<f64>,
    /// Whether the layer has a window.
    pub(super) in_window: bool,
}

// === impl LayerStore ===

impl LayerStore {
    /// `values` is `None` if a value is the beginning of its key.
    pub(super) fn new(keys: usize, values: Option<usize>, device: &Device) -> Result<LayerStore> {
        let empty = |elements| Tensor::zeros((PAGE_TOKENS, elements), DType::F32, device);
        Ok(LayerStore { keys: empty(keys)?, values: values.map(empty).transpose()? })
    }

    /// Makes room for at least `slots`, by doubling.
    pub(super) fn grow(&mut self, slots: usize) -> Result<()> {
        let now = self.keys.dim(0)?;
        if slots > now {
            for part in [Some(&mut self.keys), self.values.as_mut()].into_iter().flatten() {
                let more = (slots.max(now * 2) - now, part.dim(1)?);
                let room = Tensor::zeros(more, DType::F32, part.device())?;
                *part = Tensor::cat(&[&*part, &room], 0)?;
            }
        }
        Ok(())
    }

    /// Writes rows of keys, and of values if they are stored; `slots` has each row's slot.
    pub(super) fn put(&self, slots: &Tensor, keys: &Tensor, values: Option<&Tensor>) -> Result<()> {
        let put = |part: &Tensor, rows: &Tensor| {
            let everywhere = slots.broadcast_as(rows.shape())?.contiguous()?;
            part.scatter_set(&everywhere, &rows.contiguous()?, 0)
        };
        put(&self.keys, keys)?;
        self.values.iter().zip(values).try_for_each(|(part, values)| put(part, values))
    }
}

// === impl ClusterPlan ===

impl ClusterPlan {
    /// `positions` are those of the batch's rows, `window` the number of tokens that a row sees in some layers.
    pub(super) fn new(
        cluster: &Cluster,
        positions: &[usize],
        heads_per_kv: usize,
        window: Option<usize>,
        device: &Device,
    ) -> Result<ClusterPlan> {
        let shared = slots(&cluster.shared);
        let owns: Vec<(usize, Vec<u32>)> = cluster
            .sequences
            .iter()
            .flat_map(|sequence| sequence.rows.clone().map(|row| (row, slots(&sequence.own))))
            .collect();
        let (first_row, rows) = (owns.first().map_or(0, |&(row, _)| row), owns.len());
        let longest = owns.iter().map(|(_, own)| own.len()).max().unwrap_or(0);
        let tokens = shared.len() + longest;
        let mut padded = Vec::with_capacity(rows * longest);
        for (index, (row, own)) in owns.iter().enumerate() {
            debug_assert_eq!(*row, first_row + index, "a cluster's rows are neighbours");
            padded.extend(own);
            padded.resize((index + 1) * longest, 0);
        }
        let mask = |window: usize| {
            let mut mask = Vec::with_capacity(rows * heads_per_kv * tokens);
            for &position in &positions[first_row..first_row + rows] {
                for _ in 0..heads_per_kv {
                    let sees = |token| token <= position && position - token < window;
                    mask.extend(
                        (0..tokens).map(|token| if sees(token) { 0.0 } else { f32::NEG_INFINITY }),
                    );
                }
            }
            Tensor::from_vec(mask, (1, rows * heads_per_kv, tokens), device)
        };
        Ok(ClusterPlan {
            first_row,
            rows,
            shared: Tensor::new(shared, device)?,
            own: match longest {
                0 => None,
                _ => Some(Tensor::new(padded, device)?),
            },
            mask: mask(usize::MAX)?,
            window_mask: window.map(mask).transpose()?,
        })
    }

    /// Attention outputs of this cluster's rows: rows x (heads x value size). `queries` are the whole batch's.
    pub(super) fn attend(
        &self,
        store: &LayerStore,
        queries: &Tensor,
        scoring: &Scoring,
    ) -> Result<Tensor> {
        let &Scoring { kv_heads, key_size, value_size, .. } = scoring;
        let heads = queries.dim(1)?;
        let (rows, per_kv) = (self.rows, heads / kv_heads);
        let by_row = (queries
            .narrow(0, self.first_row, rows)?
            .reshape((rows, kv_heads, per_kv, key_size))?
            * scoring.scale)?;
        let by_head = by_row.transpose(0, 1)?.reshape((kv_heads, rows * per_kv, key_size))?;
        let (all_keys, all_values) = (&store.keys, store.values.as_ref().unwrap_or(&store.keys));
        let gather = |part: &Tensor, size: usize| -> Result<Tensor> {
            let shape = (self.shared.elem_count(), kv_heads, part.dim(1)? / kv_heads);
            let all = part.index_select(&self.shared, 0)?.reshape(shape)?.narrow(2, 0, size)?;
            all.transpose(0, 1)?.contiguous()
        };
        let gather_own = |part: &Tensor, own: &Tensor, size: usize| -> Result<Tensor> {
            let shape = (rows, own.elem_count() / rows, kv_heads, part.dim(1)? / kv_heads);
            let all = part.index_select(own, 0)?.reshape(shape)?.narrow(3, 0, size)?;
            all.transpose(1, 2)?.contiguous()
        };
        let split = (rows, kv_heads, per_kv, value_size);
        let shared = by_head.matmul(&gather(all_keys, key_size)?.transpose(1, 2)?)?;
        let shared_tokens = shared.dim(2)?;
        let Some(own) = &self.own else {
            let weights = self.softmax(shared, scoring)?;
            return join(&weights.matmul(&gather(all_values, value_size)?)?, split);
        };
        let scores = by_row.matmul(&gather_own(all_keys, own, key_size)?.transpose(2, 3)?)?;
        let own_tokens = scores.dim(3)?;
        let scores = scores.transpose(0, 1)?.reshape((kv_heads, rows * per_kv, own_tokens))?;
        let weights = self.softmax(Tensor::cat(&[shared, scores], 2)?, scoring)?;
        let of_shared = weights.narrow(2, 0, shared_tokens)?.contiguous()?;
        let of_own = weights
            .narrow(2, shared_tokens, own_tokens)?
            .reshape((kv_heads, rows, per_kv, own_tokens))?
            .transpose(0, 1)?
            .contiguous()?;
        let own = of_own.matmul(&gather_own(all_values, own, value_size)?)?;
        join(&of_shared.matmul(&gather(all_values, value_size)?)?, split)?
            + own.reshape((rows, heads * value_size))?
    }

    /// Turns scores into probabilities of the visible tokens.
    fn softmax(&self, scores: Tensor, scoring: &Scoring) -> Result<Tensor> {
        let capped = match scoring.softcap {
            None => scores,
            Some(cap) => soft_cap(&scores, cap)?,
        };
        let mask = self.window_mask.as_ref().filter(|_| scoring.in_window).unwrap_or(&self.mask);
        softmax(&capped.broadcast_add(mask)?)
    }
}

/// `cap * tanh(x / cap)`.
pub(super) fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    (x * (1.0 / cap))?.tanh()? * cap
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
