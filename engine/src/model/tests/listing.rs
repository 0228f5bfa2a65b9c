//! All parts of a loaded model as floats, for comparison.

use super::written::VOCABULARY;
use crate::files::ModelFiles;
use crate::model::weights::{Attention, Feed, Gated, LatentAttention, LatentQuery, Layer};
use crate::model::{Shape, Weights};
use jury_kernels::cpu::gemm::{QuantRows, QuantView, Workspace};
use jury_kernels::cpu::packed::{Input, PackedMatrix};
use jury_kernels::cpu::quantise::ScaleKind;
use jury_kernels::cpu::{PANEL, SimdLevel};

/// All weights of a model, as floats.
type Listing = Vec<(String, Vec<f32>)>;

/// A packed matrix as rows of outputs.
pub(super) fn unpacked(matrix: &PackedMatrix) -> Vec<f32> {
    let (rows, inputs) = (matrix.inputs, matrix.inputs);
    let floats: Vec<f32> =
        (0..rows * inputs).map(|at| f32::from(u8::from(at / inputs == at % inputs))).collect();
    let mut quant = QuantRows::default();
    quant.resize(rows, inputs.next_multiple_of(32), ScaleKind::Short);
    let codes = QuantView { inputs, ..quant.view() };
    let input = Input { rows, codes, floats: &floats };
    let mut out = vec![0.0; matrix.outputs * inputs];
    for panel in 0..matrix.panels() {
        let mut panel_out = vec![0.0; rows * PANEL];
        let workspace = &mut Workspace::default();
        matrix.panel(SimdLevel::Portable, panel, &[], &input, workspace, &mut panel_out);
        for (row, values) in panel_out.chunks_exact(PANEL).enumerate() {
            let outputs = panel * PANEL..matrix.outputs.min((panel + 1) * PANEL);
            for (output, value) in outputs.zip(values) {
                out[output * inputs + row] = *value;
            }
        }
    }
    out
}

fn listing(weights: &Weights) -> Listing {
    let mut all: Listing = Vec::new();
    let width = weights.output_norm.len();
    for token in 0..VOCABULARY {
        let mut row = vec![0.0; width];
        weights.embedding.row(token as u32, &mut row);
        all.push((format!("embedding {token}"), row));
    }
    all.push(("output norm".to_owned(), weights.output_norm.clone()));
    all.push(("head".to_owned(), unpacked(&weights.head)));
    let frequencies = weights.rope_frequencies.iter().map(|&frequency| frequency as f32);
    all.push(("frequencies".to_owned(), frequencies.collect()));
    for (number, layer) in weights.layers.iter().enumerate() {
        let mut push =
            |name: &str, floats: Vec<f32>| all.push((format!("{number} {name}"), floats));
        list_layer(layer, &mut push);
    }
    all
}

fn list_layer(layer: &Layer, push: &mut dyn FnMut(&str, Vec<f32>)) {
    push("attention norm", layer.attention_norm.clone());
    push("query norm", layer.query_norm.clone().unwrap_or_default());
    push("key norm", layer.key_norm.clone().unwrap_or_default());
    push("post attention norm", layer.post_attention_norm.clone().unwrap_or_default());
    push("feed norm", layer.feed_norm.clone());
    push("post feed norm", layer.post_feed_norm.clone().unwrap_or_default());
    match &layer.attention {
        Attention::Heads { query, key, value, output } => {
            for (name, linear) in [("query", query), ("key", key), ("value", value)] {
                push(name, unpacked(&linear.matrix));
                push("bias", linear.bias.clone().unwrap_or_default());
            }
            push("output", unpacked(output));
        }
        Attention::Latent(latent) => {
            let LatentAttention { sizes: _, query, down, norm, key_up, value_up, output } = latent;
            match query {
                LatentQuery::Full(query) => push("query", unpacked(query)),
                LatentQuery::LowRank { down, norm, up } => {
                    push("query down", unpacked(down));
                    push("query norm", norm.clone());
                    push("query up", unpacked(up));
                }
            }
            push("down", unpacked(down));
            push("latent norm", norm.clone());
            key_up.iter().for_each(|head| push("key up", unpacked(head)));
            value_up.iter().for_each(|head| push("value up", unpacked(head)));
            push("output", unpacked(output));
        }
    }
    let mut push_gated = |gated: &Gated| {
        push("gate", unpacked(&gated.gate));
        push("up", unpacked(&gated.up));
        push("down", unpacked(&gated.down));
    };
    match &layer.feed {
        Feed::Dense(gated) => push_gated(gated),
        Feed::Experts { router, experts, shared } => {
            experts.iter().chain(shared).for_each(push_gated);
            push("router", unpacked(router));
        }
    }
}

pub(super) fn load(files: &ModelFiles) -> (Shape, Weights) {
    let shape = Shape::read(files).unwrap();
    let weights = Weights::load(files, &shape).unwrap();
    (shape, weights)
}

pub(super) fn assert_same(one: &ModelFiles, other: &ModelFiles) {
    let ((one_shape, one), (other_shape, other)) = (load(one), load(other));
    assert_eq!(one_shape, other_shape);
    let (one, other) = (listing(&one), listing(&other));
    assert_eq!(one.len(), other.len());
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{name} differs");
    }
}
