//! What the forward pass can compute yet. Each line that goes from here is a step of the forward pass done.

use super::rope::RopeScaling;
use super::{Activation, Shape};
use crate::kernels::GROUP;

/// Says what of a shape the forward pass lacks.
pub(crate) fn runnable(shape: &Shape) -> Result<(), String> {
    let family = shape.architecture.name();
    let plain_scale = super::one_by_root(shape.key_size as f64);
    let lacking = [
        ("latent attention", shape.latent.is_some()),
        ("experts", shape.experts.is_some()),
        ("attention over a window", shape.window.is_some()),
        ("norms of outputs", shape.architecture.has_post_norms()),
        ("GELU", shape.activation == Activation::GeluTanh),
        ("scaled embeddings", shape.embedding_scale != 1.0),
        ("capped attention scores", shape.attention_softcap.is_some()),
        ("capped logits", shape.logit_softcap.is_some()),
        ("its scale of attention scores", shape.attention_scale != plain_scale),
        ("keys and values of different sizes", shape.key_size != shape.value_size),
        ("heads that are rotated in part", shape.rope.size != shape.key_size),
        ("a rotation of its own for some layers", shape.rope.local_base.is_some()),
        ("YaRN", matches!(shape.rope.scaling, RopeScaling::Yarn { .. })),
    ];
    if let Some((what, _)) = lacking.iter().find(|(_, is_needed)| *is_needed) {
        return Err(format!("architecture {family:?} needs {what}"));
    }
    let sizes = [
        ("head size", shape.head_size(), GROUP),
        ("width", shape.width, GROUP),
        ("attention width", shape.heads * shape.value_size, GROUP),
        ("hidden size", shape.hidden, GROUP),
    ];
    for (what, size, unit) in sizes {
        if !size.is_multiple_of(unit) {
            return Err(format!("{what} of {size}, which is not a multiple of {unit}"));
        }
    }
    Ok(())
}
