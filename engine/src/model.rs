//! A model: its shape, its weights, and the forward pass of a batch of rows.

pub(crate) mod attention;
pub(crate) mod forward;
pub(crate) mod kv;
mod shape;
mod weights;

pub(crate) use shape::Shape;
#[cfg(feature = "candle")]
pub(crate) use weights::Reader as WeightReader;
pub(crate) use weights::Weights;

use crate::error::LoadError;
use crate::gguf::GgufFile;
use crate::info::ModelInfo;
use kv::PageLayout;

/// The facts that callers see.
pub(crate) fn describe(file: &GgufFile, shape: &Shape) -> Result<ModelInfo, LoadError> {
    let metadata = &file.metadata;
    let mut kinds = std::collections::HashMap::new();
    for tensor in file.tensors.values() {
        *kinds.entry(tensor.block_type).or_insert(0) += tensor.elements();
    }
    // Ties cannot occur between types that matter: the name only breaks them.
    let most_common =
        kinds.into_iter().max_by_key(|&(kind, weights)| (weights, format!("{kind:?}")));
    Ok(ModelInfo {
        name: metadata.text_maybe("general.name")?.unwrap_or_default().to_owned(),
        architecture: shape.architecture.clone(),
        file_type: most_common.map(|(kind, _)| format!("{kind:?}")).unwrap_or_default(),
        parameters: file.tensors.values().map(|tensor| tensor.elements()).sum(),
        context_length: shape.context_length,
        vocabulary: shape.vocabulary,
        layers: shape.layers,
        embedding_length: shape.width,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        has_chat_template: metadata.text_maybe("tokenizer.chat_template")?.is_some(),
        kv_bytes_per_token: PageLayout::new(shape).bytes_per_token(shape.layers) as u64,
        file_bytes: file.file_bytes,
    })
}
