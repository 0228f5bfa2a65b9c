//! Which upstream, how it is used, and why it is of no use.

use std::path::PathBuf;
use std::time::Duration;

use jury_engine::LoadError;
use jury_fabric::tls::ClientTls;

use super::discover::Refusal;
use super::flavour::Flavour;
use super::http::Unusable;

/// Which upstream, and how it is used.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Its address, with or without `/v1`.
    pub url: String,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Whom an `https://` address must show a certificate of, and what is shown to it; `None`: as this machine trusts.
    pub tls: Option<ClientTls>,
    /// The model's name, by which requests ask for it.
    pub model: String,
    /// Its name at the upstream; `None`: the same.
    pub upstream_model: Option<String>,
    /// What kind of server it is, as the operator knows it; `None`: what it tells.
    pub flavour: Option<Flavour>,
    /// A GGUF file or a folder with the model's tokenizer; `None`: prompts are sent as text.
    pub tokenizer: Option<PathBuf>,
    /// SHA-256 of the model as the operator knows it, hex; `None`: a digest over what the upstream tells.
    pub model_digest: Option<String>,
    /// Most tokens of prompt and generation together; `None`: what the upstream tells.
    pub context_tokens: Option<u32>,
    /// Requests that may be open at once; `None`: what the upstream tells, else 32.
    pub capacity: Option<u32>,
    /// Tokens of thoughts that a sample may have beside its critique; 0: thoughts count as critique.
    pub max_thinking_tokens: u32,
    /// Whether the upstream's chat template opens a thought, which it then leaves in the text. With a tokenizer, its template
    /// tells.
    pub opens_thought: bool,
    /// Longest silence of a request.
    pub stall: Duration,
}

/// Why there is no backend.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address or the key.
    #[error("--url: {0}")]
    Unusable(#[from] Unusable),
    /// The tokenizer.
    #[error("--tokenizer: {0}")]
    Tokenizer(#[from] LoadError),
    /// The upstream.
    #[error("{url}: {refusal}")]
    Refused {
        /// Its address.
        url: String,
        /// Why.
        refusal: Refusal,
    },
    /// Nobody tells the context.
    #[error("{url}: the upstream does not tell its context; name it with --context-tokens")]
    NoContext {
        /// Its address.
        url: String,
    },
    /// It gives no scores that could rank.
    #[error("{url}: {why}")]
    NoScores {
        /// Its address.
        url: String,
        /// Why.
        why: String,
    },
    /// It takes no token ids.
    #[error(
        "{url}: no token ids can be sent to a server of an unknown kind; leave out --tokenizer"
    )]
    NoTokenPrompts {
        /// Its address.
        url: String,
    },
}
