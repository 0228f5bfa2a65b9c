//! The matrices of one layer's feed-forward network, or networks.

use candle_core::quantized::QMatMul;

use super::loader::{Loaded, Loader};

/// As [`crate::model::weights::Feed`](crate::model::Weights).
#[derive(Debug)]
pub(in crate::device) enum Feed {
    Dense(Gated),
    Experts { router: QMatMul, experts: Vec<Gated>, shared: Option<Gated> },
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug)]
pub(in crate::device) struct Gated {
    pub(in crate::device) gate: QMatMul,
    pub(in crate::device) up: QMatMul,
    pub(in crate::device) down: QMatMul,
}

// === impl Feed ===

impl Feed {
    pub(super) fn load(loader: &Loader<'_>, layer: usize) -> Loaded<Feed> {
        let shape = loader.shape;
        let experts = shape.experts.as_ref().filter(|_| shape.has_experts(layer));
        let Some(settings) = experts else {
            return Gated::load(loader, layer, "", shape.hidden).map(Feed::Dense);
        };
        let shared = (settings.shared > 0)
            .then(|| Gated::load(loader, layer, "_shexp", settings.shared * settings.hidden));
        let router = format!("blk.{layer}.ffn_gate_inp.weight");
        Ok(Feed::Experts {
            router: loader.matrix(&router, shape.width, settings.count)?,
            experts: load_experts(loader, layer, settings.hidden, settings.count)?,
            shared: shared.transpose()?,
        })
    }
}

// === impl Gated ===

impl Gated {
    fn load(loader: &Loader<'_>, layer: usize, suffix: &str, hidden: usize) -> Loaded<Gated> {
        let name = |part: &str| format!("blk.{layer}.ffn_{part}{suffix}.weight");
        let width = loader.shape.width;
        Ok(Gated {
            gate: loader.matrix(&name("gate"), width, hidden)?,
            up: loader.matrix(&name("up"), width, hidden)?,
            down: loader.matrix(&name("down"), hidden, width)?,
        })
    }
}

fn load_experts(
    loader: &Loader<'_>,
    layer: usize,
    hidden: usize,
    count: usize,
) -> Loaded<Vec<Gated>> {
    let width = loader.shape.width;
    let name = |part: &str| format!("blk.{layer}.ffn_{part}_exps.weight");
    if !loader.files.has(&name("gate")) {
        let expert = |number| Gated::load(loader, layer, &format!(".{number}"), hidden);
        return (0..count).map(expert).collect();
    }
    let gates = loader.stacked(&name("gate"), width, hidden, count)?;
    let ups = loader.stacked(&name("up"), width, hidden, count)?;
    let downs = loader.stacked(&name("down"), hidden, width, count)?;
    let gated = gates.into_iter().zip(ups).zip(downs);
    Ok(gated.map(|((gate, up), down)| Gated { gate, up, down }).collect())
}
