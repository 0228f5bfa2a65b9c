//! Checks an adapter against a model: every part must name a projection that can be adapted, and have its sizes.

use std::borrow::Cow;

use super::{Adapter, LowRank, RowOrder};
use crate::error::AdapterError;
use crate::model::adapted::{Adapted, Projection};
use crate::model::{Architecture, Shape};
use jury_kernels::cpu::rows::RopePairs;

// === impl Adapter ===

impl Adapter {
    /// If the adapter names a family, it must be the model's.
    pub(crate) fn check_family(&self, shape: &Shape) -> Result<(), AdapterError> {
        let model = shape.architecture.name();
        match self.architecture() {
            Some(made_for) if made_for != model => {
                Err(AdapterError::OtherFamily { made_for: made_for.to_owned(), model })
            }
            _ => Ok(()),
        }
    }
}

// === impl LowRank ===

impl LowRank {
    /// Both matrices must have the sizes of the projection, its inputs and outputs.
    pub(crate) fn check_sizes(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<(), AdapterError> {
        let sides = [
            ("lora_A", [self.rank, self.inputs], [self.rank, inputs]),
            ("lora_B", [self.outputs, self.rank], [outputs, self.rank]),
        ];
        match sides.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((matrix, found, expected)) => {
                let tensor = format!("{name}.{matrix}");
                Err(AdapterError::Shape { tensor, expected, found })
            }
        }
    }
}

/// Packs an adapter for a model.
pub(crate) fn fit(adapter: &Adapter, shape: &Shape) -> Result<Adapted, AdapterError> {
    adapter.check_family(shape)?;
    let mut adapted = Adapted::new(shape.layers);
    for (name, part) in adapter.parts() {
        let (layer, projection) = locate(name, shape)?;
        part.check_sizes(name, projection.sizes(shape))?;
        let b = in_order(adapter.order, shape, name, part);
        adapted.put(layer, projection, part, &b);
    }
    Ok(adapted)
}

/// Layer and projection of a part.
fn locate(name: &str, shape: &Shape) -> Result<(usize, Projection), AdapterError> {
    let unknown =
        |why: &str| AdapterError::Unsupported { name: name.to_owned(), why: why.to_owned() };
    let split = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let (layer, kind) = split
        .and_then(|(layer, kind)| Some((layer.parse::<usize>().ok()?, kind)))
        .ok_or_else(|| AdapterError::Foreign { name: name.to_owned() })?;
    if layer >= shape.layers {
        return Err(unknown(&format!("the model has {} layers", shape.layers)));
    }
    if shape.latent.is_some() && kind.starts_with("attn_") && kind != "attn_output" {
        return Err(unknown(
            "queries and keys of latent attention are computed in another form; leave them out of target_modules, or \
             merge the adapter into the weights",
        ));
    }
    if shape.has_experts(layer) && kind.starts_with("ffn_") {
        return Err(unknown(
            "this layer has experts, whose matrices cannot be adapted; leave them out of target_modules, or merge the \
             adapter into the weights",
        ));
    }
    match Projection::of_name(kind) {
        Some(projection) => Ok((layer, projection)),
        None => Err(unknown(
            "only q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj can be adapted",
        )),
    }
}

/// The rows of B in the model's order; `name` is the projection's GGUF name.
pub(crate) fn in_order<'a>(
    order: RowOrder,
    shape: &Shape,
    name: &str,
    part: &'a LowRank,
) -> Cow<'a, [f32]> {
    let heads = match name.rsplit('.').next() {
        Some("attn_q") => shape.heads,
        Some("attn_k") => shape.kv_heads,
        _ => return Cow::Borrowed(&part.b),
    };
    let half = shape.head_size() / 2;
    // Maps a row of a head to the adapter's row that belongs there.
    let from: &dyn Fn(usize) -> usize = match (shape.architecture, order, shape.rope.pairs) {
        (Architecture::Llama, RowOrder::HuggingFace, RopePairs::Neighbours) => {
            &move |at| at % 2 * half + at / 2
        }
        (Architecture::Llama, RowOrder::Gguf, RopePairs::Halves) => {
            &move |at| at % half * 2 + at / half
        }
        _ => return Cow::Borrowed(&part.b),
    };
    let rows = (0..heads).flat_map(|head| {
        let first = head * 2 * half;
        (0..2 * half)
            .flat_map(move |at| part.b[(first + from(at)) * part.rank..][..part.rank].iter())
    });
    Cow::Owned(rows.copied().collect())
}
