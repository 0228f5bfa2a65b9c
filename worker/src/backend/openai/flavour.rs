//! Which server an upstream is, and how its API differs from the others'.

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
    /// Any other server: only what OpenAI itself documents is used.
    Other,
}

// === impl Flavour ===

impl Flavour {
    /// The name as used in the numerics class.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vllm",
            Self::SgLang => "sglang",
            Self::TensorRtLlm => "tensorrt-llm",
            Self::Other => "openai",
        }
    }

    /// Detects the kind by the owner in the server's list of models. A gateway forwards that list.
    pub(super) fn of_owner(owner: &str) -> Self {
        match owner {
            "llamacpp" => Self::LlamaCpp,
            "vllm" => Self::Vllm,
            "sglang" => Self::SgLang,
            "tensorrt_llm" => Self::TensorRtLlm,
            _ => Self::Other,
        }
    }

    /// The health endpoint; the list of models if nothing better is documented.
    pub(super) fn health_path(self) -> &'static str {
        match self {
            Self::Other => "/v1/models",
            _ => "/health",
        }
    }

    /// The names of two metrics: the number of waiting requests, and a count that grows with its work.
    pub(super) fn metrics(self) -> Option<[&'static str; 2]> {
        match self {
            Self::LlamaCpp => Some(["llamacpp:requests_deferred", "llamacpp:n_decode_total"]),
            Self::Vllm => Some(["vllm:num_requests_waiting", "vllm:iteration_tokens_total_count"]),
            Self::SgLang => Some(["sglang:num_queue_reqs", "sglang:prompt_tokens_total"]),
            Self::TensorRtLlm | Self::Other => None,
        }
    }

    /// Whether later requests can reuse a prompt that is still being drawn from. If so, the first sample of a group
    /// goes ahead.
    pub(super) fn shares_prompts(self) -> bool {
        matches!(self, Self::Vllm | Self::SgLang | Self::TensorRtLlm)
    }

    /// Whether a stream reports the number of the prompt's tokens before it ends.
    pub(super) fn counts_early(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm | Self::SgLang)
    }

    /// Whether `/v1/completions` accepts token ids as a prompt.
    pub(super) fn takes_tokens(self) -> bool {
        self != Self::Other
    }

    /// Whether a conversation that ends with the model's own turn is continued at that point.
    pub(super) fn continues_its_turn(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::Vllm | Self::SgLang)
    }

    /// How many of the likeliest tokens to request: the documented maximum of a server with default options.
    pub(super) fn max_listed(self) -> u32 {
        match self {
            Self::LlamaCpp | Self::SgLang => 200,
            Self::Vllm => 20,
            Self::TensorRtLlm | Self::Other => 5,
        }
    }

    /// The fields that constrain a text to one word, as documented by each server; `None` if there are none.
    pub(super) fn held_to(self, word: &str) -> Option<Value> {
        match self {
            Self::LlamaCpp => Some(json!({"grammar": format!("root ::= {word:?}")})),
            Self::Vllm => Some(json!({"structured_outputs": {"choice": [word]}})),
            Self::SgLang => Some(json!({"regex": word})),
            Self::TensorRtLlm => Some(json!({"response_format": {"type": "regex", "regex": word}})),
            Self::Other => None,
        }
    }

    /// A sample's seed in the range that the server accepts. llama.cpp uses 32 bits, of which the highest number means
    /// "any". vLLM accepts 63 bits but on a CPU uses only the lowest 32, so the other bits are folded into these.
    pub(super) fn seed(self, seed: u64) -> u64 {
        let folded = seed ^ (seed >> 32);
        match self {
            Self::LlamaCpp => (folded & 0xffff_ffff) % u64::from(u32::MAX),
            Self::Vllm => folded & i64::MAX as u64,
            Self::SgLang | Self::TensorRtLlm | Self::Other => folded & 0x7fff_ffff,
        }
    }

    /// Disables everything else that would shape the distribution: the server's own defaults and those of the model's
    /// authors. llama.cpp also accepts 0 for all tokens, but gateways only let -1 through.
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

    /// Whether requests accept a `cache_salt`: prompts with different salts share nothing in the prefix cache.
    pub(super) fn takes_salts(self) -> bool {
        matches!(self, Self::Vllm | Self::SgLang)
    }

    /// Requests token counts, with every event if that is known to work.
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
        // Both halves matter: plans draw seeds below 2^53.
        assert_ne!(Flavour::LlamaCpp.seed(1 << 40), Flavour::LlamaCpp.seed(1 << 41));
        let drawn_by = |seed| Flavour::Vllm.seed(seed) & 0xffff_ffff;
        assert_ne!(drawn_by(5), drawn_by(5 + (1 << 40)));
    }
}
