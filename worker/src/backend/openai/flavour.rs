//! Which server an upstream is, and what sets its API apart from the others'.

use serde_json::{Map, Value, json};

/// A server with an OpenAI-compatible API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// llama.cpp's llama-server.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    SgLang,
    /// TensorRT-LLM's trtllm-serve.
    TensorRtLlm,
    /// Any other: only what OpenAI itself documents is used.
    Other,
}

// === impl Flavour ===

impl Flavour {
    /// As the numerics class spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vllm",
            Self::SgLang => "sglang",
            Self::TensorRtLlm => "tensorrt-llm",
            Self::Other => "openai",
        }
    }

    /// By the owner that its list of models names. A gateway passes it on.
    pub(super) fn of_owner(owner: &str) -> Self {
        match owner {
            "llamacpp" => Self::LlamaCpp,
            "vllm" => Self::Vllm,
            "sglang" => Self::SgLang,
            "tensorrt_llm" => Self::TensorRtLlm,
            _ => Self::Other,
        }
    }

    /// Where it tells that it lives; the list of models where nothing better is documented.
    pub(super) fn health_path(self) -> &'static str {
        match self {
            Self::Other => "/v1/models",
            _ => "/health",
        }
    }

    /// The names of its count of requests that wait, and of a count that grows with its work.
    pub(super) fn metrics(self) -> Option<[&'static str; 2]> {
        match self {
            Self::LlamaCpp => Some(["llamacpp:requests_deferred", "llamacpp:n_decode_total"]),
            Self::Vllm => Some(["vllm:num_requests_waiting", "vllm:iteration_tokens_total_count"]),
            Self::SgLang => Some(["sglang:num_queue_reqs", "sglang:prompt_tokens_total"]),
            Self::TensorRtLlm | Self::Other => None,
        }
    }

    /// Whether a prompt that is being drawn from is read once for requests that come later: then the first sample of a
    /// group goes ahead.
    pub(super) fn shares_prompts(self) -> bool {
        matches!(self, Self::Vllm | Self::SgLang | Self::TensorRtLlm)
    }

    /// Whether a stream tells the prompt's tokens before it ends.
    pub(super) fn counts_early(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm | Self::SgLang)
    }

    /// Whether `/v1/completions` takes token ids for a prompt.
    pub(super) fn takes_tokens(self) -> bool {
        self != Self::Other
    }

    /// Whether a conversation that ends in the model's own turn is continued there.
    pub(super) fn continues_its_turn(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm | Self::SgLang)
    }

    /// Likeliest tokens that it is asked for: all that it documents to give without being started for more.
    pub(super) fn max_listed(self) -> u32 {
        match self {
            Self::LlamaCpp | Self::SgLang => 200,
            Self::Vllm => 20,
            Self::TensorRtLlm | Self::Other => 5,
        }
    }

    /// What holds a text to one word, as each documents it; `None` where nothing is.
    pub(super) fn held_to(self, word: &str) -> Option<Value> {
        match self {
            Self::LlamaCpp => Some(json!({"grammar": format!("root ::= {word:?}")})),
            Self::Vllm => Some(json!({"structured_outputs": {"choice": [word]}})),
            Self::SgLang => Some(json!({"regex": word})),
            Self::TensorRtLlm => Some(json!({"response_format": {"type": "regex", "regex": word}})),
            Self::Other => None,
        }
    }

    /// A sample's seed in the range that it takes. llama.cpp has 32 bits, of which the highest number means "any". vLLM takes 63
    /// and on a CPU draws by the lowest 32 alone, so these have the others folded in.
    pub(super) fn seed(self, seed: u64) -> u64 {
        let folded = seed ^ (seed >> 32);
        match self {
            Self::LlamaCpp => (folded & 0xffff_ffff) % u64::from(u32::MAX),
            Self::Vllm => folded & i64::MAX as u64,
            Self::SgLang | Self::TensorRtLlm | Self::Other => folded & 0x7fff_ffff,
        }
    }

    /// Switches off whatever else would shape the distribution: its own defaults, and those of the model's authors.
    /// llama.cpp takes 0 for all tokens as well, but gateways let -1 alone through.
    pub(super) fn plain_sampling(self, body: &mut Map<String, Value>) {
        let fields = match self {
            Self::LlamaCpp => json!({
                "samplers": ["temperature", "top_p"], "top_k": -1, "min_p": 0.0, "repeat_penalty": 1.0,
                "cache_prompt": true, "timings_per_token": true,
            }),
            Self::Vllm | Self::SgLang => {
                json!({"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0})
            }
            Self::TensorRtLlm => json!({"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}),
            Self::Other => return,
        };
        if let Value::Object(fields) = fields {
            body.extend(fields);
        }
    }

    /// Whether requests take a `cache_salt`: prompts of another salt share nothing in its prefix cache.
    pub(super) fn takes_salts(self) -> bool {
        matches!(self, Self::Vllm | Self::SgLang)
    }

    /// Asks for token counts, with every event where that is known to work.
    pub(super) fn stream_options(self) -> Value {
        match self {
            Self::Vllm | Self::SgLang => {
                json!({"include_usage": true, "continuous_usage_stats": true})
            }
            _ => json!({"include_usage": true}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_cpp_never_gets_the_seed_that_means_any() {
        let seeds = [0, 1, u64::from(u32::MAX), u64::MAX, (1 << 53) - 1, 0x1_0000_0000];
        for seed in seeds {
            assert!(Flavour::LlamaCpp.seed(seed) < u64::from(u32::MAX), "{seed}");
        }
        // Both halves count: plans draw seeds below 2^53.
        assert_ne!(Flavour::LlamaCpp.seed(1 << 40), Flavour::LlamaCpp.seed(1 << 41));
        let drawn_by = |seed| Flavour::Vllm.seed(seed) & 0xffff_ffff;
        assert_ne!(drawn_by(5), drawn_by(5 + (1 << 40)));
    }
}
