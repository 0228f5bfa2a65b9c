//! Which kinds of scales a pass's inputs have: K-quants require powers of two.

use super::{Attention, Feed, LatentQuery, Layer};
use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::quantise::ScaleKind;

/// The kind for each buffer of inputs, given the matrices of all layers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InputScales {
    pub(crate) normed: ScaleKind,
    pub(crate) attended: ScaleKind,
    pub(crate) hidden: ScaleKind,
    pub(crate) expert_inputs: ScaleKind,
    pub(crate) expert_hidden: ScaleKind,
    pub(crate) shared_hidden: ScaleKind,
    /// For latent attention.
    pub(crate) low_rank: ScaleKind,
    pub(crate) plain: ScaleKind,
    pub(crate) by_head: ScaleKind,
    pub(crate) expanded: ScaleKind,
}

/// The matrices that take each buffer.
#[derive(Default)]
struct Takers<'a> {
    normed: Vec<&'a PackedMatrix>,
    attended: Vec<&'a PackedMatrix>,
    hidden: Vec<&'a PackedMatrix>,
    expert_inputs: Vec<&'a PackedMatrix>,
    expert_hidden: Vec<&'a PackedMatrix>,
    shared_hidden: Vec<&'a PackedMatrix>,
    low_rank: Vec<&'a PackedMatrix>,
    plain: Vec<&'a PackedMatrix>,
    by_head: Vec<&'a PackedMatrix>,
    expanded: Vec<&'a PackedMatrix>,
}

// === impl InputScales ===

impl InputScales {
    pub(super) fn new(layers: &[Layer], head: &PackedMatrix) -> InputScales {
        let mut takers = Takers { normed: vec![head], ..Takers::default() };
        for layer in layers {
            takers.take_attention(&layer.attention);
            takers.take_feed(&layer.feed);
        }
        let kind = |matrices: &[&PackedMatrix]| {
            ScaleKind::for_all(matrices.iter().map(|matrix| matrix.input_scales()))
        };
        InputScales {
            normed: kind(&takers.normed),
            attended: kind(&takers.attended),
            hidden: kind(&takers.hidden),
            expert_inputs: kind(&takers.expert_inputs),
            expert_hidden: kind(&takers.expert_hidden),
            shared_hidden: kind(&takers.shared_hidden),
            low_rank: kind(&takers.low_rank),
            plain: kind(&takers.plain),
            by_head: kind(&takers.by_head),
            expanded: kind(&takers.expanded),
        }
    }
}

// === impl Takers ===

impl<'a> Takers<'a> {
    fn take_attention(&mut self, attention: &'a Attention) {
        match attention {
            Attention::Heads { query, key, value, output } => {
                self.normed.extend([&query.matrix, &key.matrix, &value.matrix]);
                self.attended.push(output);
            }
            Attention::Latent(latent) => {
                self.normed.push(&latent.down);
                match &latent.query {
                    LatentQuery::Full(query) => self.normed.push(query),
                    LatentQuery::LowRank { down, up, .. } => {
                        self.normed.push(down);
                        self.low_rank.push(up);
                    }
                }
                self.plain.extend(&latent.key_up);
                self.by_head.extend(&latent.value_up);
                self.expanded.push(&latent.output);
            }
        }
    }

    fn take_feed(&mut self, feed: &'a Feed) {
        match feed {
            Feed::Dense(gated) => {
                self.normed.extend([&gated.gate, &gated.up]);
                self.hidden.push(&gated.down);
            }
            Feed::Experts { router, experts, shared } => {
                self.normed.push(router);
                for gated in experts {
                    self.expert_inputs.extend([&gated.gate, &gated.up]);
                    self.expert_hidden.push(&gated.down);
                }
                if let Some(gated) = shared {
                    self.normed.extend([&gated.gate, &gated.up]);
                    self.shared_hidden.push(&gated.down);
                }
            }
        }
    }
}
