//! A server's counts of its own work, read from its metrics. Pure.

use jury_worker::backend::openai::metric;

/// Metric names of the known servers: generated tokens, prompt tokens, and the prompt tokens that were not computed,
/// if the second name includes them.
const NAMES: [(&str, &str, Option<&str>); 3] = [
    ("llamacpp:tokens_predicted_total", "llamacpp:prompt_tokens_total", None),
    (
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
        Some("vllm:prefix_cache_hits_total"),
    ),
    (
        "sglang:generation_tokens_total",
        "sglang:prompt_tokens_total",
        Some("sglang:cached_tokens_total"),
    ),
];

/// Tokens since the start of the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    pub generated: f64,
    /// Prompt tokens that it computed.
    pub computed: f64,
}

// === impl Counts ===

impl Counts {
    /// `None` if the page has none of them.
    pub fn read(page: &str) -> Option<Self> {
        NAMES.iter().find_map(|&(generated, prompt, cached)| {
            let cached = cached.and_then(|cached| metric(page, cached)).unwrap_or(0.0);
            let computed = metric(page, prompt)? - cached;
            Some(Self { generated: metric(page, generated)?, computed })
        })
    }

    /// The difference between two readings.
    pub fn since(self, before: Self) -> Self {
        Self {
            generated: self.generated - before.generated,
            computed: self.computed - before.computed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_took_from_its_cache_was_not_computed() {
        let vllm = "vllm:generation_tokens_total{engine=\"0\"} 9.0\nvllm:prompt_tokens_total{engine=\"0\"} 100.0\n\
                    vllm:prefix_cache_hits_total{engine=\"0\"} 64.0\n";
        let counts = Counts::read(vllm).unwrap();
        assert_eq!(counts, Counts { generated: 9.0, computed: 36.0 });
        let llama = "llamacpp:prompt_tokens_total 70\nllamacpp:tokens_predicted_total 30\n";
        let counts = Counts::read(llama).unwrap();
        assert_eq!(counts, Counts { generated: 30.0, computed: 70.0 });
        assert_eq!(counts.since(counts), Counts { generated: 0.0, computed: 0.0 });
        assert_eq!(Counts::read("up 1\n"), None);
    }
}
