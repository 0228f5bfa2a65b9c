//! One layer of a decoder over a whole sequence.
//!
//! ```text
//! x -> norm -> q k v -> norms of heads, rotation -> causal softmax of q k -> v -> output -> (norm) -> + x
//!   -> norm -> down(activation(gate) * up) -> (norm) -> +
//! ```

use candle_core::{D, Device, Result, Tensor};
use jury_engine::floats::Sizes;

use super::linear::Linear;
use super::ops::CausalSoftmax;

/// The weights of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) query_norm: Option<Tensor>,
    pub(super) key_norm: Option<Tensor>,
    pub(super) output: Linear,
    pub(super) post_attention_norm: Option<Tensor>,
    pub(super) feed_norm: Tensor,
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) post_feed_norm: Option<Tensor>,
    /// How many of the newest tokens a token can attend to.
    pub(super) window: Option<usize>,
}

/// Cosine and sine of every position and pair: positions x 1 x pairs.
#[derive(Debug)]
pub(super) struct Turns {
    cosines: Tensor,
    sines: Tensor,
}

/// The rotations of one sequence.
#[derive(Debug)]
pub(super) struct Rotation {
    all: Turns,
    /// For layers with a sliding window, if different.
    local: Option<Turns>,
}

// === impl Rotation ===

impl Rotation {
    pub(super) fn new(sizes: &Sizes, positions: usize) -> Result<Rotation> {
        let local = sizes.local_rope_frequencies.as_ref();
        Ok(Rotation {
            all: Turns::new(positions, &sizes.rope_frequencies, sizes.rope_magnitude)?,
            local: local.map(|of| Turns::new(positions, of, 1.0)).transpose()?,
        })
    }
}

// === impl Turns ===

impl Turns {
    fn new(positions: usize, frequencies: &[f64], magnitude: f64) -> Result<Turns> {
        let angles = (0..positions).flat_map(|position| {
            frequencies.iter().map(move |frequency| position as f64 * frequency)
        });
        let scaled = |value: f64| (value * magnitude) as f32;
        let (cosines, sines): (Vec<f32>, Vec<f32>) =
            angles.map(|angle| (scaled(libm::cos(angle)), scaled(libm::sin(angle)))).unzip();
        let shape = (positions, 1, frequencies.len());
        Ok(Turns {
            cosines: Tensor::from_vec(cosines, shape, &Device::Cpu)?,
            sines: Tensor::from_vec(sines, shape, &Device::Cpu)?,
        })
    }

    /// Positions x heads x head size.
    fn rotate(&self, heads: &Tensor) -> Result<Tensor> {
        let half = heads.dim(2)? / 2;
        let (x, y) = (heads.narrow(2, 0, half)?, heads.narrow(2, half, half)?);
        let first = (x.broadcast_mul(&self.cosines)? - y.broadcast_mul(&self.sines)?)?;
        let second = (x.broadcast_mul(&self.sines)? + y.broadcast_mul(&self.cosines)?)?;
        Tensor::cat(&[first, second], 2)
    }
}

// === impl Layer ===

impl Layer {
    /// Input and output: positions x width.
    pub(super) fn forward(&self, sizes: &Sizes, rotation: &Rotation, x: &Tensor) -> Result<Tensor> {
        let epsilon = sizes.norm_epsilon;
        let attended = self.attend(sizes, rotation, &norm(x, &self.attention_norm, epsilon)?)?;
        let output = self.output.forward(&attended)?;
        let x = (x + norm_maybe(output, self.post_attention_norm.as_ref(), epsilon)?)?;
        let normed = norm(&x, &self.feed_norm, epsilon)?;
        let gate = self.gate.forward(&normed)?;
        let gate = if sizes.is_gelu { gate.gelu()? } else { gate.silu()? };
        let output = self.down.forward(&(gate * self.up.forward(&normed)?)?)?;
        x + norm_maybe(output, self.post_feed_norm.as_ref(), epsilon)?
    }

    fn attend(&self, sizes: &Sizes, rotation: &Rotation, normed: &Tensor) -> Result<Tensor> {
        let Sizes { heads, kv_heads, head_size, .. } = *sizes;
        let positions = normed.dim(0)?;
        let per_kv = heads / kv_heads;
        let local = rotation.local.as_ref().filter(|_| self.window.is_some());
        let turns = local.unwrap_or(&rotation.all);
        let turned = |linear: &Linear, weight: Option<&Tensor>, heads: usize| {
            let all = linear.forward(normed)?.reshape((positions, heads, head_size))?;
            turns.rotate(&norm_maybe(all, weight, sizes.norm_epsilon)?)
        };
        // Key heads x (query heads of each x positions) x head size.
        let queries = turned(&self.query, self.query_norm.as_ref(), heads)?
            .reshape((positions, kv_heads, per_kv, head_size))?
            .permute((1, 2, 0, 3))?
            .reshape((kv_heads, per_kv * positions, head_size))?;
        let keys = turned(&self.key, self.key_norm.as_ref(), kv_heads)?;
        let keys = keys.permute((1, 2, 0))?.contiguous()?;
        let values = self.value.forward(normed)?.reshape((positions, kv_heads, head_size))?;
        let values = values.transpose(0, 1)?.contiguous()?;
        let mut scores = queries.matmul(&keys)?;
        let mut scale = sizes.attention_scale;
        if let Some(cap) = sizes.attention_softcap {
            scores = soft_cap(&(scores * scale)?, cap)?;
            scale = 1.0;
        }
        let softmax = CausalSoftmax { scale: scale as f32, window: self.window };
        let attended = scores.apply_op1(softmax)?.matmul(&values)?;
        attended
            .reshape((kv_heads, per_kv, positions, head_size))?
            .permute((2, 0, 1, 3))?
            .reshape((positions, heads * head_size))
    }
}

/// Root mean square norm of the last dimension.
pub(super) fn norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + epsilon)?.sqrt()?)?.broadcast_mul(weight)
}

fn norm_maybe(x: Tensor, weight: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    match weight {
        None => Ok(x),
        Some(weight) => norm(&x, weight, epsilon),
    }
}

/// `cap * tanh(x / cap)`.
pub(super) fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    (x / cap)?.tanh()? * cap
}
