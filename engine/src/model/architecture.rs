//! The families of models, and what the members of each share.

/// A family of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma2,
    /// Its text part.
    Gemma3,
    /// DeepSeek V2, including V2-Lite.
    DeepSeek2,
}

// === impl Architecture ===

impl Architecture {
    /// By `general.architecture` of a GGUF file.
    pub(crate) fn of_gguf(name: &str) -> Option<Architecture> {
        use Architecture::{DeepSeek2, Gemma2, Gemma3, Llama, Qwen2, Qwen3};
        [Llama, Qwen2, Qwen3, Gemma2, Gemma3, DeepSeek2]
            .into_iter()
            .find(|architecture| architecture.name() == name)
    }

    /// Error message for a file of another family.
    pub(crate) fn refusal(name: &str) -> String {
        format!(
            "architecture {name:?} (general.architecture); known are llama, qwen2, qwen3, gemma2, gemma3 and \
             deepseek2: take a model of one of these families"
        )
    }

    /// By `model_type` of a folder's configuration.
    pub(crate) fn of_folder(model_type: &str) -> Option<Architecture> {
        Some(match model_type {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "qwen3" => Architecture::Qwen3,
            "gemma2" => Architecture::Gemma2,
            "gemma3" | "gemma3_text" => Architecture::Gemma3,
            "deepseek_v2" => Architecture::DeepSeek2,
            _ => return None,
        })
    }

    /// GGUF's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
            Architecture::Gemma2 => "gemma2",
            Architecture::Gemma3 => "gemma3",
            Architecture::DeepSeek2 => "deepseek2",
        }
    }

    pub(crate) fn is_gemma(self) -> bool {
        matches!(self, Architecture::Gemma2 | Architecture::Gemma3)
    }

    /// Whether each head of queries and keys is normalised before rotation.
    pub(crate) fn has_head_norms(self) -> bool {
        matches!(self, Architecture::Qwen3 | Architecture::Gemma3)
    }

    /// Whether the outputs of attention and feed-forward network are normalised before they are added to the residual
    /// stream.
    pub(crate) fn has_post_norms(self) -> bool {
        self.is_gemma()
    }
}
