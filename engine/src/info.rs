//! What is known about a model without running it.

use serde::Serialize;

use crate::model::kv::PAGE_TOKENS;
use crate::tokens::Tokens;

/// A model's facts, from its file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The name given by its authors; empty if the file has none.
    pub name: String,
    /// Family, as the file names it (`llama`, `qwen2` ...).
    pub architecture: String,
    /// Most common type of its weights (`Q4_1`, `Q4_K` ...).
    pub file_type: String,
    /// Number of weights.
    pub parameters: u64,
    /// Context that it was trained with, in tokens.
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
    /// Name in GGUF files of the rule that splits text into words before BPE; empty if the model has none.
    pub pre_tokenizer: String,
    /// True if the file does not name its pre-tokenizer and `pre_tokenizer` is a guess: tokens may differ from those
    /// that the model was trained on.
    pub pre_tokenizer_is_assumed: bool,
    /// False if the file has no chat template and ChatML is used instead.
    pub has_chat_template: bool,
    /// Bytes that one token's keys and values take.
    pub kv_bytes_per_token: u64,
    /// Size of all files of weights, in bytes.
    pub file_bytes: u64,
    /// True for a scalar reward model: it scores a conversation ([`crate::Engine::scalar_head`]) and generates no text.
    pub is_scalar: bool,
}

// === impl ModelInfo ===

impl ModelInfo {
    /// Adds what only the tokenizer knows.
    pub(crate) fn with_tokens(mut self, tokens: &Tokens) -> ModelInfo {
        if let Some(named) = tokens.pre_tokenizer() {
            self.pre_tokenizer.clone_from(&named.name);
            self.pre_tokenizer_is_assumed = named.is_assumed;
        }
        self
    }

    /// Memory for keys and values, in bytes, of a shared prompt of `prompt_tokens` tokens and `samples` samples that
    /// decode at once, each with up to `generated_tokens` of its own. Counted in whole pages of 64 tokens, as the
    /// engine reserves them, with an empty cache. On candle devices keys and values are floats and take more.
    pub fn kv_bytes_needed(
        &self,
        prompt_tokens: usize,
        samples: usize,
        generated_tokens: usize,
    ) -> u64 {
        let pages =
            prompt_tokens.div_ceil(PAGE_TOKENS) + samples * generated_tokens.div_ceil(PAGE_TOKENS);
        (pages * PAGE_TOKENS) as u64 * self.kv_bytes_per_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Qwen2.5 with 1.5 billion weights, as far as it matters here.
    fn qwen() -> ModelInfo {
        ModelInfo {
            name: String::new(),
            architecture: "qwen2".to_owned(),
            file_type: String::new(),
            parameters: 0,
            context_length: 32_768,
            vocabulary: 151_936,
            layers: 28,
            embedding_length: 1_536,
            heads: 12,
            kv_heads: 2,
            pre_tokenizer: String::new(),
            pre_tokenizer_is_assumed: false,
            has_chat_template: true,
            kv_bytes_per_token: 15_008,
            file_bytes: 0,
            is_scalar: false,
        }
    }

    #[test]
    fn a_prompt_is_counted_once_and_every_sample_s_own_tokens_once_each() {
        let token = qwen().kv_bytes_per_token;
        assert_eq!(qwen().kv_bytes_needed(4_096, 32, 512), token * (4_096 + 32 * 512));
        assert_eq!(qwen().kv_bytes_needed(4_096, 32, 512), 307_363_840);
    }

    #[test]
    fn begun_pages_count_in_full() {
        let page = qwen().kv_bytes_per_token * 64;
        assert_eq!(qwen().kv_bytes_needed(1, 1, 1), 2 * page);
        assert_eq!(qwen().kv_bytes_needed(65, 3, 64), 5 * page);
        assert_eq!(qwen().kv_bytes_needed(64, 3, 0), page);
    }
}
