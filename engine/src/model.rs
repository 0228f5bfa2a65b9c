//! A model: its shape, its weights, and the forward pass of a batch of rows.

pub(crate) mod adapted;
mod architecture;
pub(crate) mod attention;
pub(crate) mod forward;
pub(crate) mod kv;
pub(crate) mod routing;
pub(crate) mod shape;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use architecture::Architecture;
pub(crate) use shape::{Shape, runnable};
pub(crate) use weights::{Reader, Weights};

use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::info::ModelInfo;
use kv::PageLayout;

/// The facts that callers see, except those of the tokenizer.
pub(crate) fn describe(files: &ModelFiles, shape: &Shape) -> Result<ModelInfo, LoadError> {
    let mut kinds = std::collections::HashMap::new();
    for tensor in files.tensors().values() {
        *kinds.entry(tensor.block_type).or_insert(0) += tensor.elements();
    }
    // Ties do not occur between types that matter; the name only makes the order definite.
    let most_common =
        kinds.into_iter().max_by_key(|&(kind, weights)| (weights, format!("{kind:?}")));
    Ok(ModelInfo {
        name: files.model_name()?,
        architecture: shape.architecture.name().to_owned(),
        file_type: most_common.map(|(kind, _)| format!("{kind:?}")).unwrap_or_default(),
        parameters: files.tensors().values().map(|tensor| tensor.elements()).sum(),
        context_length: shape.context_length,
        vocabulary: shape.vocabulary,
        layers: shape.layers,
        embedding_length: shape.width,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        pre_tokenizer: String::new(),
        pre_tokenizer_is_assumed: false,
        has_chat_template: files.has_chat_template()?,
        kv_bytes_per_token: kv_bytes_per_token(shape),
        file_bytes: files.file_bytes(),
        is_scalar: files.is_scalar(),
    })
}

/// Bytes that one token's keys and values take.
pub(crate) fn kv_bytes_per_token(shape: &Shape) -> u64 {
    PageLayout::new(shape).bytes_per_token(shape.layers) as u64
}
