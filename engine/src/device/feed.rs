//! Feed-forward networks and experts; the router's choice is made in host memory.

use candle_core::quantized::QMatMul;
use candle_core::{Module, Result, Tensor};

use super::weights::{Feed, Gated};
use crate::model::Shape;
use crate::model::routing::{Route, route};
use crate::model::shape::{Activation, Experts};

// === impl Feed ===

impl Feed {
    pub(super) fn forward(&self, shape: &Shape, normed: &Tensor) -> Result<Tensor> {
        match (self, &shape.experts) {
            (Feed::Dense(gated), _) => gated.forward(shape.activation, normed),
            (Feed::Experts { router, experts, shared }, Some(settings)) => {
                let out = match shared {
                    Some(shared) => shared.forward(shape.activation, normed)?,
                    None => normed.zeros_like()?,
                };
                let chosen = choose(settings, router, normed)?;
                add_experts(out, shape.activation, experts, &chosen, normed)
            }
            (Feed::Experts { .. }, None) => unreachable!("experts are loaded by these settings"),
        }
    }
}

// === impl Gated ===

impl Gated {
    fn forward(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        let gate = self.gate.forward(x)?;
        let gate = match activation {
            Activation::Silu => gate.silu()?,
            Activation::GeluTanh => gate.gelu()?,
        };
        self.down.forward(&(gate * self.up.forward(x)?)?)
    }
}

/// For every expert, the rows that chose it and the factors of its outputs.
fn choose(
    settings: &Experts,
    router: &QMatMul,
    normed: &Tensor,
) -> Result<Vec<(Vec<u32>, Vec<f32>)>> {
    let mut chosen = vec![(Vec::new(), Vec::new()); settings.count];
    let mut routes = vec![Route::default(); settings.used];
    for (row, mut scores) in (0u32..).zip(router.forward(normed)?.to_vec2::<f32>()?) {
        route(settings, &mut scores, &mut routes);
        for &Route { expert, weight } in &routes {
            chosen[expert].0.push(row);
            chosen[expert].1.push(weight);
        }
    }
    Ok(chosen)
}

fn add_experts(
    mut out: Tensor,
    activation: Activation,
    experts: &[Gated],
    chosen: &[(Vec<u32>, Vec<f32>)],
    normed: &Tensor,
) -> Result<Tensor> {
    let device = normed.device();
    for (gated, (rows, weights)) in experts.iter().zip(chosen) {
        if rows.is_empty() {
            continue;
        }
        let rows = Tensor::new(rows.as_slice(), device)?;
        let weights = Tensor::new(weights.as_slice(), device)?.unsqueeze(1)?;
        let expert = gated.forward(activation, &normed.index_select(&rows, 0)?)?;
        out = out.index_add(&rows, &expert.broadcast_mul(&weights)?, 0)?;
    }
    Ok(out)
}
