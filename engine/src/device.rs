//! A model on a candle device: CUDA, Metal, or candle's CPU code as the reference that tests can run.
//!
//! ```text
//! Batch -> embedding rows (host) -> layers of [q k v, rotation, scatter into slots, attention, gate up down] -> logits
//!                                                                     (attention.rs)
//! ```
//!
//! Rows, clusters, pages and slots are those of the own kernels: a group's shared keys and values are gathered once
//! and multiplied with all its samples' queries at once. Everything between the quantised products is f32.
//!
//! NOT promised: equal bits. Products may round differently with the number of rows beside one's own. A device that
//! fails once is lost: its logits are not numbers from then on, which ends every sample with an error.

mod attention;
mod weights;

use candle_core::{D, Device, Module, Result, Tensor};

use crate::config::DeviceKind;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::kernels::rows::RopePairs;
use crate::model::Shape;
use crate::model::forward::{Batch, Forward};
use crate::model::kv::PAGE_TOKENS;
use attention::{ClusterPlan, LayerStore};
use weights::{Layer, Linear, Weights};

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

/// What all layers need to know of a batch.
struct Pass {
    /// Cosine and sine of every row and pair: rows x 1 x pairs.
    cosines: Tensor,
    sines: Tensor,
    /// Where every row's keys and values go, once for each of their elements: rows x elements.
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
            DeviceKind::Cuda(ordinal) => Device::new_cuda(ordinal),
            DeviceKind::Metal(ordinal) => Device::new_metal(ordinal),
            DeviceKind::Cpu | DeviceKind::CandleCpu => Ok(Device::Cpu),
        };
        let device = device.map_err(|error| LoadError::Device(format!("{kind:?}: {error}")))?;
        let weights = Weights::load(files, shape, &device)?;
        let store = (0..shape.layers)
            .map(|_| LayerStore::new(shape.kv_heads * shape.head_size(), &device))
            .collect::<Result<Vec<LayerStore>>>()
            .map_err(|error| LoadError::Device(error.to_string()))?;
        let shape = shape.clone();
        let (logits, last_hidden) = (Vec::new(), Vec::new());
        Ok(DeviceModel { kind, device, shape, weights, store, logits, last_hidden, lost: false })
    }

    /// Changes whenever this path's arithmetic does; names the device, because each rounds in its own way.
    pub(crate) fn numerics(&self) -> &'static str {
        match self.kind {
            DeviceKind::Cuda(_) => "candle-cuda-f32-v1",
            DeviceKind::Metal(_) => "candle-metal-f32-v1",
            DeviceKind::Cpu | DeviceKind::CandleCpu => "candle-cpu-f32-v1",
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
        for (layer, store) in self.weights.layers.iter().zip(&self.store) {
            let attended =
                self.attend(layer, store, &pass, &norm(&stream, &layer.attention_norm, epsilon)?)?;
            stream = (stream + layer.output.forward(&attended)?)?;
            let normed = norm(&stream, &layer.feed_norm, epsilon)?;
            let hidden = (layer.gate.forward(&normed)?.silu()? * layer.up.forward(&normed)?)?;
            stream = (stream + layer.down.forward(&hidden)?)?;
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let last = stream.index_select(&Tensor::new(wanted, &self.device)?, 0)?;
        let normed = norm(&last, &self.weights.output_norm, epsilon)?;
        self.last_hidden = normed.flatten_all()?.to_vec1()?;
        self.weights.head.forward(&normed)?.to_vec2()
    }

    fn plan(&self, batch: &Batch) -> Result<Pass> {
        let (rows, elements) = (batch.rows.len(), self.shape.kv_heads * self.shape.head_size());
        let angles = batch.rows.iter().flat_map(|row| {
            self.weights.rope_frequencies.iter().map(|frequency| row.position as f64 * frequency)
        });
        let (cosines, sines): (Vec<f32>, Vec<f32>) =
            angles.map(|angle| (libm::cos(angle) as f32, libm::sin(angle) as f32)).unzip();
        let turns = (rows, 1, self.shape.head_size() / 2);
        let slots: Vec<u32> =
            batch.rows.iter().map(|row| row.page * PAGE_TOKENS as u32 + row.slot as u32).collect();
        let positions: Vec<usize> = batch.rows.iter().map(|row| row.position).collect();
        let per_kv = self.shape.heads_per_kv();
        Ok(Pass {
            cosines: Tensor::from_vec(cosines, turns, &self.device)?,
            sines: Tensor::from_vec(sines, turns, &self.device)?,
            slots: Tensor::from_vec(slots, (rows, 1), &self.device)?
                .broadcast_as((rows, elements))?
                .contiguous()?,
            clusters: batch
                .clusters
                .iter()
                .filter(|cluster| cluster.members.iter().any(|member| !member.rows.is_empty()))
                .map(|cluster| ClusterPlan::new(cluster, &positions, per_kv, &self.device))
                .collect::<Result<_>>()?,
        })
    }

    /// Attention of all rows of one layer: rows x (heads x head size).
    fn attend(
        &self,
        layer: &Layer,
        store: &LayerStore,
        pass: &Pass,
        normed: &Tensor,
    ) -> Result<Tensor> {
        let shape = &self.shape;
        let rows = normed.dim(0)?;
        let turned = |linear: &Linear, norm: Option<&Tensor>, heads: usize| -> Result<Tensor> {
            let mut all = linear.forward(normed)?.reshape((rows, heads, shape.head_size()))?;
            if let Some(weight) = norm {
                all = self::norm(&all, weight, f64::from(shape.norm_epsilon))?;
            }
            rotate(shape.rope.pairs, &all, pass)
        };
        let queries = turned(&layer.query, layer.query_norm.as_ref(), shape.heads)?;
        let keys = turned(&layer.key, layer.key_norm.as_ref(), shape.kv_heads)?;
        store.put(&pass.slots, &keys.flatten_from(1)?, &layer.value.forward(normed)?)?;
        let parts = pass
            .clusters
            .iter()
            .map(|cluster| cluster.attend(store, &queries, shape.kv_heads))
            .collect::<Result<Vec<Tensor>>>()?;
        // The batch lists clusters in the order of their rows.
        Tensor::cat(&parts, 0)
    }
}

/// Root mean square norm of the last dimension.
fn norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + epsilon)?.sqrt()?)?.broadcast_mul(weight)
}

/// Turns all heads (rows x heads x head size) to their rows' positions.
fn rotate(pairs: RopePairs, heads: &Tensor, pass: &Pass) -> Result<Tensor> {
    let (rows, count, size) = heads.dims3()?;
    let (x, y) = match pairs {
        RopePairs::Halves => (heads.narrow(2, 0, size / 2)?, heads.narrow(2, size / 2, size / 2)?),
        RopePairs::Neighbours => {
            let pairs = heads.reshape((rows, count, size / 2, 2))?;
            (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
        }
    };
    let first = (x.broadcast_mul(&pass.cosines)? - y.broadcast_mul(&pass.sines)?)?;
    let second = (x.broadcast_mul(&pass.sines)? + y.broadcast_mul(&pass.cosines)?)?;
    match pairs {
        RopePairs::Halves => Tensor::cat(&[first, second], 2),
        RopePairs::Neighbours => Tensor::stack(&[first, second], 3)?.flatten_from(2),
    }
}
