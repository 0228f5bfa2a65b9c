//! A model on a candle device: Metal, or candle's CPU code, the reference in tests.
//!
//! ```text
//! Batch -> embedding rows (host) -> layers of [q k v, rotation, scatter into slots, attention, gate up down] -> logits
//!                                             (projections.rs)                     (attention.rs)  (feed.rs)
//! ```
//!
//! Rows, clusters, pages and slots are those of the CPU kernels: a group's shared keys and values are gathered once and
//! multiplied with the queries of all its samples together. Everything between the quantised products is f32.
//!
//! NOT guaranteed: equal bits. Products may round differently depending on how many rows are computed together. After
//! the first failure a device counts as lost: its logits are NaN from then on, which ends every sample with an error.

mod attention;
mod feed;
mod projections;
mod rotation;
mod weights;

use candle_core::{D, Device, Module, Result, Tensor};

use crate::config::DeviceKind;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::Shape;
use crate::model::forward::{Batch, Forward};
use crate::model::kv::PAGE_TOKENS;
use attention::{ClusterPlan, LayerStore, Scoring, soft_cap};
use projections::Projected;
use rotation::Turns;
use weights::{Attention, Layer, Weights};

/// A model's weights, keys and values on a device.
#[derive(Debug)]
pub(crate) struct DeviceModel {
    kind: DeviceKind,
    device: Device,
    shape: Shape,
    weights: Weights,
    store: Vec<LayerStore>,
    logits: Vec<f32>,
    last_hidden: Vec<f32>,
    lost: bool,
}

/// What all layers need to know about a batch.
struct Pass {
    turns: Turns,
    /// For layers with an attention window, where the angles differ.
    local_turns: Option<Turns>,
    /// Where every row's keys and values go: rows x 1.
    slots: Tensor,
    clusters: Vec<ClusterPlan>,
}

// === impl DeviceModel ===

impl DeviceModel {
    pub(crate) fn load(
        kind: DeviceKind,
        files: &ModelFiles,
        shape: &Shape,
    ) -> std::result::Result<DeviceModel, LoadError> {
        let device = match kind {
            DeviceKind::Metal(ordinal) => Device::new_metal(ordinal),
            _ => Ok(Device::Cpu),
        };
        let device = device.map_err(|error| LoadError::Device(format!("{kind:?}: {error}")))?;
        let weights = Weights::load(files, shape, &device)?;
        let store = (0..shape.layers)
            .map(|_| {
                let values = shape.latent.is_none().then_some(shape.kv_heads * shape.value_size);
                LayerStore::new(shape.kv_heads * shape.key_size, values, &device)
            })
            .collect::<Result<Vec<LayerStore>>>()
            .map_err(|error| LoadError::Device(error.to_string()))?;
        let shape = shape.clone();
        let (logits, last_hidden) = (Vec::new(), Vec::new());
        Ok(DeviceModel { kind, device, shape, weights, store, logits, last_hidden, lost: false })
    }

    pub(crate) fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// Changes whenever this path's arithmetic does; names the device, because each rounds in its own way.
    pub(crate) fn numerics(&self) -> &'static str {
        match self.kind {
            DeviceKind::Metal(_) => "candle-metal-f32-v2",
            _ => "candle-cpu-f32-v2",
        }
    }

    /// As [`Forward::logits`].
    pub(crate) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// As [`Forward::last_hidden`].
    pub(crate) fn last_hidden(&self) -> &[f32] {
        &self.last_hidden
    }

    /// As [`Forward::run`].
    pub(crate) fn run(&mut self, batch: &Batch) {
        let wanted: Vec<u32> = (0u32..)
            .zip(&batch.rows)
            .filter_map(|(row, place)| place.wants_logits.then_some(row))
            .collect();
        let stride = Forward::logits_stride(&self.shape);
        self.logits.clear();
        self.logits.resize(wanted.len() * stride, f32::NEG_INFINITY);
        if !self.lost {
            match self.forward(batch, &wanted) {
                Ok(rows) => {
                    for (logits, row) in self.logits.chunks_exact_mut(stride).zip(rows) {
                        logits[..row.len()].copy_from_slice(&row);
                    }
                }
                Err(error) => {
                    tracing::error!(device = ?self.kind, %error, "device failed, it is not used again");
                    self.lost = true;
                }
            }
        }
        if self.lost {
            self.logits.fill(f32::NAN);
            self.last_hidden = vec![f32::NAN; wanted.len() * self.shape.width];
        }
    }

    fn forward(&mut self, batch: &Batch, wanted: &[u32]) -> Result<Vec<Vec<f32>>> {
        let last_page = batch.rows.iter().map(|row| row.page as usize).max().unwrap_or(0);
        for store in &mut self.store {
            store.grow((last_page + 1) * PAGE_TOKENS)?;
        }
        let pass = self.plan(batch)?;
        let epsilon = f64::from(self.shape.norm_epsilon);
        let mut stream = self.weights.embed(&batch.rows, &self.device)?;
        for (index, (layer, store)) in self.weights.layers.iter().zip(&self.store).enumerate() {
            let normed = norm(&stream, &layer.attention_norm, epsilon)?;
            let attended = self.attend(index, layer, store, &pass, &normed)?;
            let output = layer.output.forward(&attended)?;
            stream = (stream + norm_maybe(output, layer.post_attention_norm.as_ref(), epsilon)?)?;
            let normed = norm(&stream, &layer.feed_norm, epsilon)?;
            let output = layer.feed.forward(&self.shape, &normed)?;
            stream = (stream + norm_maybe(output, layer.post_feed_norm.as_ref(), epsilon)?)?;
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let last = stream.index_select(&Tensor::new(wanted, &self.device)?, 0)?;
        let normed = norm(&last, &self.weights.output_norm, epsilon)?;
        self.last_hidden = normed.flatten_all()?.to_vec1()?;
        let logits = self.weights.head.forward(&normed)?;
        match self.shape.logit_softcap {
            None => logits.to_vec2(),
            Some(cap) => soft_cap(&logits, f64::from(cap))?.to_vec2(),
        }
    }

    fn plan(&self, batch: &Batch) -> Result<Pass> {
        let (shape, device) = (&self.shape, &self.device);
        let slots: Vec<u32> =
            batch.rows.iter().map(|row| row.page * PAGE_TOKENS as u32 + row.slot as u32).collect();
        let positions: Vec<usize> = batch.rows.iter().map(|row| row.position).collect();
        let per_kv = shape.heads_per_kv();
        let window = shape.window.as_ref().map(|window| window.tokens);
        let local = self.weights.local_rope_frequencies.as_ref();
        let magnitude = shape.rope.magnitude();
        Ok(Pass {
            turns: Turns::new(&positions, &self.weights.rope_frequencies, magnitude, device)?,
            local_turns: local
                .map(|frequencies| Turns::new(&positions, frequencies, 1.0, device))
                .transpose()?,
            slots: Tensor::from_vec(slots, (batch.rows.len(), 1), device)?,
            clusters: batch
                .clusters
                .iter()
                .filter(|cluster| {
                    cluster.sequences.iter().any(|sequence| !sequence.rows.is_empty())
                })
                .map(|cluster| ClusterPlan::new(cluster, &positions, per_kv, window, device))
                .collect::<Result<_>>()?,
        })
    }

    /// Attention of all rows of one layer: the inputs of its output's product.
    fn attend(
        &self,
        index: usize,
        layer: &Layer,
        store: &LayerStore,
        pass: &Pass,
        normed: &Tensor,
    ) -> Result<Tensor> {
        let shape = &self.shape;
        let in_window = shape.window(index).is_some();
        let turns = pass.local_turns.as_ref().filter(|_| in_window).unwrap_or(&pass.turns);
        let Projected { queries, keys, values } = layer.project(shape, turns, normed)?;
        store.put(&pass.slots, &keys, values.as_ref())?;
        let scoring = Scoring {
            kv_heads: shape.kv_heads,
            key_size: shape.key_size,
            value_size: shape.value_size,
            scale: f64::from(shape.attention_scale),
            softcap: shape.attention_softcap.map(f64::from),
            in_window,
        };
        let parts = pass
            .clusters
            .iter()
            .map(|cluster| cluster.attend(store, &queries, &scoring))
            .collect::<Result<Vec<Tensor>>>()?;
        // The batch lists clusters in the order of their rows.
        let attended = Tensor::cat(&parts, 0)?;
        match &layer.attention {
            Attention::Heads { .. } => Ok(attended),
            Attention::Latent(latent) => latent.expand(&attended),
        }
    }
}

/// Root mean square norm of the last dimension.
fn norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + epsilon)?.sqrt()?)?.broadcast_mul(weight)
}

/// The norm of an output, in families that have it.
fn norm_maybe(x: Tensor, weight: Option<&Tensor>, epsilon: f64) -> Result<Tensor> {
    match weight {
        None => Ok(x),
        Some(weight) => norm(&x, weight, epsilon),
    }
}
