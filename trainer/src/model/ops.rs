//! Operations that candle's autograd lacks on the CPU, each with its gradient, parallel over rows, with a fixed order
//! of sums.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

/// `x W^T` for frozen weights: the gradient of W, which would cost as much as that of x, is not computed.
pub(super) struct FrozenProduct(pub(super) Tensor);

/// Softmax over the columns that a row may attend to. Input: .. x (queries per group x positions) x positions; row r
/// is at position r modulo the number of columns.
pub(super) struct CausalSoftmax {
    /// Factor applied to the scores first.
    pub(super) scale: f32,
    /// How many of the newest positions a row can attend to.
    pub(super) window: Option<usize>,
}

/// The log-probability of each row's target. Input: rows x vocabulary; output: rows.
pub(super) struct TargetLogProb(pub(super) Vec<u32>);

/// Gives access to a tensor's floats.
pub(super) fn with_floats<R>(tensor: &Tensor, use_them: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(use_them(slice(storage, layout)?)),
        _ => bail!("training computes on the CPU"),
    }
}

/// The entropy of the softmax of each row, in nats. Input: rows x columns.
pub(super) fn entropies(logits: &Tensor) -> Result<Vec<f32>> {
    let columns = logits.dim(1)?;
    with_floats(logits, |logits| {
        let entropy = |row: &[f32]| {
            let log_total = log_sum_exp(row);
            let weighted = |&logit: &f32| {
                let log_prob = logit - log_total;
                f64::from(-log_prob.exp() * log_prob)
            };
            row.iter().map(weighted).sum::<f64>() as f32
        };
        logits.par_chunks_exact(columns).map(entropy).collect()
    })
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a tensor that should be contiguous is not"),
    }
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.iter().map(|logit| f64::from((logit - top).exp())).sum();
    top + total.ln() as f32
}

// === impl FrozenProduct ===

impl CustomOp1 for FrozenProduct {
    fn name(&self) -> &'static str {
        "frozen-product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = Tensor::from_slice(slice(storage, layout)?, layout.shape(), &Device::Cpu)?;
        let product = x.matmul(&self.0.t()?)?;
        let floats = product.flatten_all()?.to_vec1::<f32>()?;
        Ok((CpuStorage::F32(floats), product.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.contiguous()?.matmul(&self.0).map(Some)
    }
}

// === impl CausalSoftmax ===

impl CausalSoftmax {
    /// The columns that a row can attend to.
    fn seen(&self, row: usize, columns: usize) -> std::ops::Range<usize> {
        let end = row % columns + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal-softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = slice(storage, layout)?;
        let columns = *layout.dims().last().unwrap_or(&1);
        let mut weights = vec![0.0; scores.len()];
        let rows = weights.par_chunks_exact_mut(columns).zip(scores.par_chunks_exact(columns));
        rows.enumerate().for_each(|(row, (weights, scores))| {
            let seen = self.seen(row, columns);
            let (weights, scores) = (&mut weights[seen.clone()], &scores[seen]);
            let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut total = 0.0;
            for (weight, score) in weights.iter_mut().zip(scores) {
                *weight = ((score - top) * self.scale).exp();
                total += *weight;
            }
            weights.iter_mut().for_each(|weight| *weight /= total);
        });
        Ok((CpuStorage::F32(weights), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, weights: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let columns = weights.dim(candle_core::D::Minus1)?;
        let slopes = with_floats(weights, |weights| {
            with_floats(gradient, |gradient| {
                let mut slopes = vec![0.0; weights.len()];
                let rows = slopes
                    .par_chunks_exact_mut(columns)
                    .zip(weights.par_chunks_exact(columns))
                    .zip(gradient.par_chunks_exact(columns));
                rows.enumerate().for_each(|(row, ((slopes, weights), gradient))| {
                    let seen = self.seen(row, columns);
                    let (weights, gradient) = (&weights[seen.clone()], &gradient[seen.clone()]);
                    let mean: f32 = weights.iter().zip(gradient).map(|(w, g)| w * g).sum();
                    for ((slope, weight), gradient) in
                        slopes[seen].iter_mut().zip(weights).zip(gradient)
                    {
                        *slope = weight * (gradient - mean) * self.scale;
                    }
                });
                slopes
            })
        })??;
        Tensor::from_vec(slopes, weights.shape(), &Device::Cpu).map(Some)
    }
}

// === impl TargetLogProb ===

impl CustomOp1 for TargetLogProb {
    fn name(&self) -> &'static str {
        "target-log-prob"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let columns = *layout.dims().last().unwrap_or(&1);
        let rows = slice(storage, layout)?.par_chunks_exact(columns).zip(self.0.par_iter());
        let log_probs: Vec<f32> =
            rows.map(|(row, &target)| row[target as usize] - log_sum_exp(row)).collect();
        let rows = log_probs.len();
        Ok((CpuStorage::F32(log_probs), Shape::from(rows)))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let columns = logits.dim(1)?;
        let gradient = gradient.to_vec1::<f32>()?;
        let slopes = with_floats(logits, |logits| {
            let mut slopes = vec![0.0; logits.len()];
            let rows = slopes
                .par_chunks_exact_mut(columns)
                .zip(logits.par_chunks_exact(columns))
                .zip(self.0.par_iter().zip(gradient.par_iter()));
            rows.for_each(|((slopes, row), (&target, &gradient))| {
                let log_total = log_sum_exp(row);
                for (slope, logit) in slopes.iter_mut().zip(row) {
                    *slope = -gradient * (logit - log_total).exp();
                }
                slopes[target as usize] += gradient;
            });
            slopes
        })?;
        Tensor::from_vec(slopes, logits.shape(), &Device::Cpu).map(Some)
    }
}
