//! What is known about a model without running it.

use serde::Serialize;

/// A model's facts, from its file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The name that its makers gave it; empty when the file has none.
    pub name: String,
    /// Family, as the file names it (`llama`, `qwen2` ...).
    pub architecture: String,
    /// Most common type of its weights (`Q4_1`, `Q4_K` ...).
    pub file_type: String,
    /// Number of weights.
    pub parameters: u64,
    /// Tokens it was trained to attend to.
    pub context_length: usize,
    /// Size of the vocabulary.
    pub vocabulary: usize,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub embedding_length: usize,
    /// Query heads of a layer.
    pub heads: usize,
    /// Key and value heads of a layer.
    pub kv_heads: usize,
    /// False when the file has no chat template and ChatML is used instead.
    pub has_chat_template: bool,
    /// Memory that one token's keys and values take, in bytes.
    pub kv_bytes_per_token: u64,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
}
