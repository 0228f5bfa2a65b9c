//! Holds an adapter to a model: every part must name a projection that can be adapted, and have its sizes.

use std::borrow::Cow;

use super::{Adapter, LowRank, RowOrder};
use crate::error::AdapterError;
use crate::model::adapted::{Adapted, Projection};
use crate::model::{Architecture, Shape};
use jury_kernels::cpu::rows::RopePairs;

/// Packs an adapter for a model.
pub(crate) fn fit(adapter: &Adapter, shape: &Shape) -> Result<Adapted, AdapterError> {
    if let Some(made_for) = adapter.architecture()
        && made_for != shape.architecture.name()
    {
        return Err(AdapterError::OtherFamily {
            made_for: made_for.to_owned(),
            model: shape.architecture.name(),
        });
    }
    let mut adapted = Adapted::new(shape.layers);
    for (name, part) in adapter.parts() {
        let (layer, projection) = locate(name, shape)?;
        let [inputs, outputs] = projection.sizes(shape);
        let sides = [
            ("lora_A", [part.rank, part.inputs], [part.rank, inputs]),
            ("lora_B", [part.outputs, part.rank], [outputs, part.rank]),
        ];
        for (matrix, found, expected) in sides {
            if found != expected {
                let tensor = format!("{name}.{matrix}");
                return Err(AdapterError::Shape { tensor, expected, found });
            }
        }
        let b = in_order(adapter.order, shape, projection, part);
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

/// The rows of B in the model's order.
fn in_order<'a>(
    order: RowOrder,
    shape: &Shape,
    projection: Projection,
    part: &'a LowRank,
) -> Cow<'a, [f32]> {
    let heads = match projection {
        Projection::Query => shape.heads,
        Projection::Key => shape.kv_heads,
        _ => return Cow::Borrowed(&part.b),
    };
    let half = shape.head_size() / 2;
    // Of a row in a head: the row of the adapter's that belongs there.
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
