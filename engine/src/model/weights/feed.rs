//! The matrices of one layer's feed-forward network, or networks.

use super::Reader;
use crate::error::LoadError;
use crate::model::shape::Experts;
use jury_kernels::cpu::packed::PackedMatrix;

/// The feed-forward part of one layer.
#[derive(Debug)]
pub(crate) enum Feed {
    Dense(Gated),
    /// A router chooses some networks for each token: see [`Experts`].
    Experts {
        /// Width to one score for each expert.
        router: PackedMatrix,
        experts: Vec<Gated>,
        /// Used by every token.
        shared: Option<Gated>,
    },
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug)]
pub(crate) struct Gated {
    pub(crate) gate: PackedMatrix,
    pub(crate) up: PackedMatrix,
    pub(crate) down: PackedMatrix,
}

// === impl Feed ===

impl Feed {
    /// The first matrix that a token is multiplied with.
    pub(crate) fn first_matrix(&self) -> &PackedMatrix {
        match self {
            Feed::Dense(gated) => &gated.gate,
            Feed::Experts { router, .. } => router,
        }
    }

    pub(super) fn load(reader: &Reader<'_>, layer: usize) -> Result<Feed, LoadError> {
        let shape = reader.shape;
        let experts = shape.experts.as_ref().filter(|_| shape.has_experts(layer));
        let Some(settings) = experts else {
            return Gated::load(reader, layer, "", shape.hidden).map(Feed::Dense);
        };
        let router = format!("blk.{layer}.ffn_gate_inp.weight");
        let correction = format!("blk.{layer}.exp_probs_b.bias");
        if reader.files.has(&correction) {
            return Err(reader.files.unsupported(format!("tensor {correction}")));
        }
        let shared = (settings.shared > 0)
            .then(|| Gated::load(reader, layer, "_shexp", settings.shared * settings.hidden));
        Ok(Feed::Experts {
            router: reader.matrix(&router, shape.width, settings.count)?,
            experts: load_experts(reader, layer, settings)?,
            shared: shared.transpose()?,
        })
    }
}

// === impl Gated ===

impl Gated {
    fn load(
        reader: &Reader<'_>,
        layer: usize,
        suffix: &str,
        hidden: usize,
    ) -> Result<Gated, LoadError> {
        let name = |part: &str| format!("blk.{layer}.ffn_{part}{suffix}.weight");
        let width = reader.shape.width;
        Ok(Gated {
            gate: reader.matrix(&name("gate"), width, hidden)?,
            up: reader.matrix(&name("up"), width, hidden)?,
            down: reader.matrix(&name("down"), hidden, width)?,
        })
    }
}

fn load_experts(
    reader: &Reader<'_>,
    layer: usize,
    settings: &Experts,
) -> Result<Vec<Gated>, LoadError> {
    let (width, hidden, count) = (reader.shape.width, settings.hidden, settings.count);
    let name = |part: &str| format!("blk.{layer}.ffn_{part}_exps.weight");
    if !reader.files.has(&name("gate")) {
        let expert = |number| Gated::load(reader, layer, &format!(".{number}"), hidden);
        return (0..count).map(expert).collect();
    }
    let gates = reader.stacked(&name("gate"), width, hidden, count)?;
    let ups = reader.stacked(&name("up"), width, hidden, count)?;
    let downs = reader.stacked(&name("down"), hidden, width, count)?;
    let gated = gates.into_iter().zip(ups).zip(downs);
    Ok(gated.map(|((gate, up), down)| Gated { gate, up, down }).collect())
}
