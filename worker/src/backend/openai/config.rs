//! Which upstream to use and how, and the errors if it cannot be used.

use std::path::PathBuf;
use std::time::Duration;

use jury_engine::LoadError;
use jury_fabric::tls::ClientTls;

use super::discover::Refusal;
use super::flavour::Flavour;
use super::http::Unusable;

/// Which upstream to use, and how.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Its address, with or without `/v1`.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// The authority that an `https://` address's certificate must come from, and our own certificate; `None`: the
    /// system's defaults.
    pub tls: Option<ClientTls>,
    /// The model's name, as used in requests.
    pub model: String,
    /// The model's name at the upstream; `None`: the same.
    pub upstream_model: Option<String>,
    /// What kind of server it is, if the operator says so; `None`: detected.
    pub flavour: Option<Flavour>,
    /// A GGUF file or a folder with the model's tokenizer; `None`: prompts are sent as text.
    pub tokenizer: Option<PathBuf>,
    /// SHA-256 of the model, hex, if the operator knows it; `None`: a digest of what the upstream reports.
    pub model_digest: Option<String>,
    /// Maximum tokens of prompt and generation together; `None`: what the upstream reports.
    pub context_tokens: Option<u32>,
    /// Maximum open requests; `None`: what the upstream reports, else 32.
    pub capacity: Option<u32>,
    /// Thought tokens that a sample may have in addition to its critique; 0: thoughts count as critique.
    pub max_thinking_tokens: u32,
    /// Whether the upstream's chat template opens a thought that the upstream then leaves in the text. With a
    /// tokenizer, its template determines this instead.
    pub opens_thought: bool,
    /// Longest time without data on a request.
    pub stall: Duration,
}

/// Why no backend could be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address or the key is invalid.
    #[error("--url: {0}")]
    Unusable(#[from] Unusable),
    /// The tokenizer cannot be used.
    #[error("--tokenizer: {0}")]
    Tokenizer(#[from] LoadError),
    /// The upstream cannot be used.
    #[error("{url}: {refusal}")]
    Refused {
        /// Its address.
        url: String,
        /// Why.
        refusal: Refusal,
    },
    /// Neither the upstream nor the operator gives the context length.
    #[error("{url}: the upstream does not tell its context; name it with --context-tokens")]
    NoContext {
        /// Its address.
        url: String,
    },
    /// It gives no scores that can rank samples.
    #[error("{url}: {why}")]
    NoScores {
        /// Its address.
        url: String,
        /// Why.
        why: String,
    },
    /// It does not accept token ids.
    #[error(
        "{url}: no token ids can be sent to a server of an unknown kind; leave out --tokenizer"
    )]
    NoTokenPrompts {
        /// Its address.
        url: String,
    },
}
