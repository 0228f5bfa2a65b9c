//! What a model's files become on an emulated card.

use std::path::Path;
use std::process::Command;

use super::{HeadWeights, Weight, Weights};
use crate::config::CardWeights;
use crate::cuda::open_libraries;
use crate::cuda::weights::{Feed, Gated};
use crate::files::ModelFiles;
use crate::model::Shape;
use jury_kernels::cuda::{Buffer, Card, Plain};

/// All matrices of a model's layers, as stored on the card.
pub(crate) fn layers_on_a_card(files: &ModelFiles, kind: CardWeights) -> Vec<Vec<u32>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let made = Command::new(root.join("scripts/emulated-cuda")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let folder = String::from_utf8(made.stdout).unwrap();
    open_libraries(Some(Path::new(folder.trim()))).unwrap();
    let card = Card::open(0).unwrap();
    let shape = Shape::read(files).unwrap();
    let weights = Weights::load(&card, files, &shape, 8, kind).unwrap();
    let mut all = Vec::new();
    for layer in &weights.layers {
        let mut push = |weight: &Weight| all.push(words(weight));
        push(&layer.attention.projections);
        push(&layer.attention.output);
        if let HeadWeights::Latent(latent) = &layer.attention.heads {
            push(&latent.key_up.weight);
            push(&latent.value_up.weight);
        }
        let mut gated = |gated: &Gated| [&gated.gate_up, &gated.down].map(&mut push);
        match &layer.feed {
            Feed::Dense(dense) => _ = gated(dense),
            Feed::Experts(experts) => {
                experts.shared.as_ref().map(&mut gated);
                push(&experts.router);
                push(&experts.gate_up.weight);
                push(&experts.down.weight);
            }
        }
    }
    all
}

fn words(weight: &Weight) -> Vec<u32> {
    match weight {
        Weight::Rounded { weights, .. } => {
            read(weights).into_iter().map(|number| u32::from(number.to_bits())).collect()
        }
        Weight::Eight { bytes, scales, .. } => {
            let scales = read(scales).into_iter().map(f32::to_bits);
            read(bytes).into_iter().map(u32::from).chain(scales).collect()
        }
    }
}

fn read<T: Plain + Default>(buffer: &Buffer<T>) -> Vec<T> {
    let mut elements = vec![T::default(); buffer.len()];
    buffer.read(0, &mut elements).unwrap();
    elements
}
