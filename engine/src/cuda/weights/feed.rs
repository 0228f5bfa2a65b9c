//! The weights of one layer's feed-forward network, or networks.

use super::upload::{TensorRows, Upload};
use super::{Stack, Weight, refuse_biases};
use crate::error::LoadError;
use crate::model::Reader;
use crate::model::shape::Experts;

/// The feed-forward part of one layer.
#[derive(Debug)]
pub(crate) enum Feed {
    Dense(Gated),
    /// A router chooses some networks for each token: see [`Experts`].
    Experts(Box<ExpertWeights>),
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug)]
pub(crate) struct Gated {
    /// (Gates, ups) x width.
    pub(crate) gate_up: Weight,
    /// Width x hidden.
    pub(crate) down: Weight,
}

/// Networks of which each token uses a few.
#[derive(Debug)]
pub(crate) struct ExpertWeights {
    pub(crate) settings: Experts,
    /// Experts x width, in bfloat16.
    pub(crate) router: Weight,
    /// For every expert (gates, ups) x width.
    pub(crate) gate_up: Stack,
    /// For every expert width x hidden.
    pub(crate) down: Stack,
    /// Used by every token.
    pub(crate) shared: Option<Gated>,
}

// === impl Feed ===

impl Feed {
    pub(super) fn load(
        upload: &mut Upload<'_>,
        reader: &Reader<'_>,
        layer: usize,
    ) -> Result<Feed, LoadError> {
        let shape = reader.shape;
        match shape.experts.as_ref().filter(|_| shape.has_experts(layer)) {
            None => Gated::load(upload, reader, layer, "", shape.hidden).map(Feed::Dense),
            Some(experts) => ExpertWeights::load(upload, reader, layer, experts)
                .map(|experts| Feed::Experts(Box::new(experts))),
        }
    }
}

// === impl Gated ===

impl Gated {
    fn load(
        upload: &mut Upload<'_>,
        reader: &Reader<'_>,
        layer: usize,
        suffix: &str,
        hidden: usize,
    ) -> Result<Gated, LoadError> {
        let parts = ["gate", "up", "down"].map(|part| format!("ffn_{part}{suffix}"));
        refuse_biases(reader, layer, &parts.each_ref().map(String::as_str))?;
        let [gate, up, down] = parts.map(|part| format!("blk.{layer}.{part}.weight"));
        let width = reader.shape.width;
        let gate_up = [gate, up].map(|name| TensorRows::matrix(name, width, hidden));
        let down = TensorRows::matrix(down, hidden, width);
        Ok(Gated {
            gate_up: upload.matrix(&gate_up, width, 2 * hidden)?,
            down: upload.matrix(&[down], hidden, width)?,
        })
    }
}

// === impl ExpertWeights ===

impl ExpertWeights {
    fn load(
        upload: &mut Upload<'_>,
        reader: &Reader<'_>,
        layer: usize,
        experts: &Experts,
    ) -> Result<ExpertWeights, LoadError> {
        let (width, hidden, count) = (reader.shape.width, experts.hidden, experts.count);
        let correction = format!("blk.{layer}.exp_probs_b.bias");
        if reader.files.has(&correction) {
            return Err(reader.files.unsupported(format!("tensor {correction}")));
        }
        let stacked = |part: &str| format!("blk.{layer}.ffn_{part}_exps.weight");
        let is_stacked = reader.files.has(&stacked("gate"));
        let of = |part: &str, inputs: usize, outputs: usize, expert: usize| match is_stacked {
            true => TensorRows::stacked(stacked(part), [inputs, outputs, count], expert),
            false => {
                let name = format!("blk.{layer}.ffn_{part}.{expert}.weight");
                TensorRows::matrix(name, inputs, outputs)
            }
        };
        let gate_up: Vec<TensorRows> = (0..count)
            .flat_map(|expert| ["gate", "up"].map(|part| of(part, width, hidden, expert)))
            .collect();
        let down: Vec<TensorRows> =
            (0..count).map(|expert| of("down", hidden, width, expert)).collect();
        let router = format!("blk.{layer}.ffn_gate_inp.weight");
        let router = TensorRows::matrix(router, width, count);
        let shared = experts.shared * experts.hidden;
        let shared = (shared > 0).then(|| Gated::load(upload, reader, layer, "_shexp", shared));
        Ok(ExpertWeights {
            settings: experts.clone(),
            shared: shared.transpose()?,
            router: upload.rounded(&[router], width, count)?,
            gate_up: upload.stack(&gate_up, width, count * 2 * hidden, count)?,
            down: upload.stack(&down, hidden, count * width, count)?,
        })
    }
}
