//! A matrix that may be trained, directly or through a low-rank addition.

use candle_core::{Result, Tensor};

use super::ops::FrozenProduct;

/// `x W^T + b`, and with an adapter `+ scale (x A^T) B^T`.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Weight,
    /// Outputs.
    pub(super) bias: Option<Tensor>,
    pub(super) adapter: Option<Adapter>,
}

/// Outputs x inputs.
#[derive(Debug)]
pub(super) enum Weight {
    Frozen(Tensor),
    Learning(Tensor),
}

/// A low-rank addition (LoRA, Hu et al. 2021).
#[derive(Debug)]
pub(super) struct Adapter {
    /// Rank x inputs.
    pub(super) down: Tensor,
    /// Outputs x rank.
    pub(super) up: Tensor,
    /// alpha / rank.
    pub(super) scale: f64,
}

// === impl Linear ===

impl Linear {
    /// From rows x inputs to rows x outputs.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        let mut y = match &self.weight {
            Weight::Frozen(weight) => x.apply_op1(FrozenProduct(weight.clone()))?,
            Weight::Learning(weight) => x.matmul(&weight.t()?)?,
        };
        if let Some(Adapter { down, up, scale }) = &self.adapter {
            let low = (x.matmul(&down.t()?)? * *scale)?;
            y = (y + low.matmul(&up.t()?)?)?;
        }
        match &self.bias {
            None => Ok(y),
            Some(bias) => y.broadcast_add(bias),
        }
    }
}

// === impl Weight ===

impl Weight {
    pub(super) fn tensor(&self) -> &Tensor {
        match self {
            Weight::Frozen(weight) | Weight::Learning(weight) => weight,
        }
    }
}
