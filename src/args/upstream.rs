//! Options of a worker in front of another inference server, and what they mean together.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use jury_terminal::model::ModelArgs;
use jury_worker::backend::openai::{Flavour, OpenAiConfig};

use super::Refused;

/// What draws the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendArg {
    /// The embedded engine
    Engine,
    /// A server with an OpenAI-compatible API: vLLM, SGLang, llama-server, trtllm-serve
    Openai,
}

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UpstreamServerArg {
    /// llama.cpp's llama-server
    LlamaCpp,
    /// vLLM
    Vllm,
    /// SGLang
    Sglang,
    /// TensorRT-LLM's trtllm-serve
    TensorrtLlm,
}

/// How the upstream server is used.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Upstream (--backend openai)")]
pub struct UpstreamArgs {
    /// What draws the samples
    #[arg(long, env = "JURY_BACKEND", value_enum, default_value_t = BackendArg::Engine)]
    pub backend: BackendArg,
    /// Address of the server, with or without /v1; --model is then the model's name at the server
    #[arg(long, env = "JURY_UPSTREAM_URL", value_name = "URL", hide_env_values = true)]
    pub url: Option<String>,
    /// The model's name at the server, if it differs from the name that requests use [default: --model]
    #[arg(long, env = "JURY_UPSTREAM_MODEL", value_name = "NAME")]
    pub upstream_model: Option<String>,
    /// Kind of the server, if a gateway in front of it hides that [default: detected from the server's responses]
    #[arg(long, env = "JURY_UPSTREAM_SERVER", value_enum, value_name = "KIND")]
    pub upstream_server: Option<UpstreamServerArg>,
    /// GGUF file or Hugging Face model folder with the tokenizer of the server's model. Prompts are then sent as
    /// tokens, so that no text can forge a special token; without it, they are sent as text with special tokens
    /// neutralised
    #[arg(long, env = "JURY_UPSTREAM_TOKENIZER", value_name = "PATH")]
    pub tokenizer: Option<PathBuf>,
    /// SHA-256 of the model (hex), if you know it [default: a digest of what the server reports about itself]
    #[arg(long, env = "JURY_UPSTREAM_MODEL_DIGEST", value_name = "HEX")]
    pub model_digest: Option<String>,
    /// Most tokens of prompt and generation together, at least 1 [default: as reported by the server]
    #[arg(long, env = "JURY_UPSTREAM_CONTEXT_TOKENS", value_name = "N")]
    pub context_tokens: Option<u32>,
    /// Samples that the server draws at once, at least 1 [default: as reported by the server, else 32]
    #[arg(long, env = "JURY_UPSTREAM_CAPACITY", value_name = "N")]
    pub capacity: Option<u32>,
    /// Most thinking tokens of a reasoning model, in addition to max_critique_tokens; 0: thoughts count as critique
    #[arg(long, env = "JURY_UPSTREAM_MAX_THINKING_TOKENS", value_name = "N", default_value_t = 0)]
    pub max_thinking_tokens: u32,
    /// Set this if the server's chat template starts answers inside `<think>` and the server does not strip thoughts,
    /// which contain no scores; with --tokenizer, this is detected from its template
    #[arg(long, env = "JURY_UPSTREAM_OPENS_THOUGHT", conflicts_with = "tokenizer")]
    pub opens_thought: bool,
    /// How long the server may be silent before a sample fails
    #[arg(
        long,
        env = "JURY_UPSTREAM_STALL",
        value_name = "TIME",
        default_value = "120s",
        value_parser = jury_terminal::number::time,
    )]
    pub upstream_stall: Duration,
    /// Bearer token to send to the server. Other users of the machine can see command lines: prefer the environment
    /// variable
    #[arg(long, env = "JURY_UPSTREAM_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<ApiKey>,
    /// CA certificate (PEM) that an https:// server must be signed by [default: the system's trusted CAs]
    #[arg(long, env = "JURY_UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// Client certificate, if the server requires one: PEM, followed by its chain
    #[arg(long, env = "JURY_UPSTREAM_CERT", value_name = "FILE")]
    pub upstream_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a password
    #[arg(long, env = "JURY_UPSTREAM_KEY", value_name = "FILE")]
    pub upstream_key: Option<PathBuf>,
}

/// A secret, never logged.
#[derive(Clone)]
pub struct ApiKey(String);

// === impl UpstreamServerArg ===

impl From<UpstreamServerArg> for Flavour {
    fn from(server: UpstreamServerArg) -> Self {
        match server {
            UpstreamServerArg::LlamaCpp => Self::LlamaCpp,
            UpstreamServerArg::Vllm => Self::Vllm,
            UpstreamServerArg::Sglang => Self::SgLang,
            UpstreamServerArg::TensorrtLlm => Self::TensorRtLlm,
        }
    }
}

// === impl ApiKey ===

impl From<String> for ApiKey {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

// === impl UpstreamArgs ===

impl UpstreamArgs {
    /// The configured upstream; `None`: the embedded engine.
    pub fn config(self, model: &ModelArgs) -> Result<Option<OpenAiConfig>, Refused> {
        let url = match (self.backend, self.url) {
            (BackendArg::Engine, None) => return Ok(None),
            (BackendArg::Engine, Some(_)) => {
                return Err(Refused::new("--url", "needs --backend openai"));
            }
            (BackendArg::Openai, None) => {
                let problem = "is required with --backend openai: the server's address, like http://127.0.0.1:8000";
                return Err(Refused::new("--url", problem));
            }
            (BackendArg::Openai, Some(url)) => url,
        };
        if model.threads.is_some() {
            return Err(Refused::new(
                "--threads",
                "applies to the embedded engine only; set the server's own option",
            ));
        }
        if !model.adapters.is_empty() {
            let problem = "applies to the embedded engine only; vLLM and SGLang load adapters themselves (vLLM: --lora-modules \
                           NAME=PATH), and --model selects one";
            return Err(Refused::new("--adapter", problem));
        }
        at_least_1("--capacity", self.capacity)?;
        at_least_1("--context-tokens", self.context_tokens)?;
        if self.upstream_stall.is_zero() {
            return Err(Refused::new("--upstream-stall", "must be longer than 0"));
        }
        if let Some(digest) = &self.model_digest
            && !is_sha256(digest)
        {
            let problem = format!("must be 64 characters of 0-9 and a-f, is {digest:?}");
            return Err(Refused::new("--model-digest", problem));
        }
        Ok(Some(OpenAiConfig {
            url,
            api_key: self.api_key.map(|key| key.0),
            // From files that are read later.
            tls: None,
            model: model.model.clone(),
            upstream_model: self.upstream_model,
            flavour: self.upstream_server.map(Flavour::from),
            tokenizer: self.tokenizer,
            model_digest: self.model_digest,
            context_tokens: self.context_tokens,
            capacity: self.capacity,
            max_thinking_tokens: self.max_thinking_tokens,
            opens_thought: self.opens_thought,
            stall: self.upstream_stall,
        }))
    }
}

fn at_least_1(flag: &'static str, number: Option<u32>) -> Result<(), Refused> {
    match number {
        Some(0) => Err(Refused::new(flag, "must be at least 1, is 0")),
        _ => Ok(()),
    }
}

fn is_sha256(digest: &str) -> bool {
    digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, Command};
    use super::*;

    fn config(options: &[&str]) -> Result<Option<OpenAiConfig>, Refused> {
        let words = ["jury", "worker"].into_iter().chain(options.iter().copied());
        let Command::Worker(args) = Args::try_parse_from(words).unwrap().command else { panic!() };
        args.upstream.config(&args.model)
    }

    #[test]
    fn an_upstream_is_what_its_options_say() {
        assert!(config(&[]).unwrap().is_none());
        let openai = ["--backend", "openai", "--url", "http://h:1/v1", "--model", "judge"];
        let config = config(&openai).unwrap().unwrap();
        assert_eq!((config.url.as_str(), config.model.as_str()), ("http://h:1/v1", "judge"));
    }

    #[test]
    fn every_refusal_names_its_flag() {
        let openai = ["--backend", "openai", "--url", "http://h:1"];
        for (options, flag) in [
            (&["--url", "http://h:1"][..], "--url"),
            (&["--backend", "openai"], "--url"),
            (&["--capacity", "0"], "--capacity"),
            (&["--context-tokens", "0"], "--context-tokens"),
            (&["--upstream-stall", "0s"], "--upstream-stall"),
            (&["--model-digest", "abc"], "--model-digest"),
            (&["--threads", "2"], "--threads"),
        ] {
            let is_whole = options.contains(&"--url") || options.contains(&"--backend");
            let all = if is_whole { options.to_vec() } else { [&openai, options].concat() };
            let refused = config(&all).map(|_| ()).unwrap_err();
            assert_eq!(refused.flag, flag);
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        assert!(!format!("{:?}", ApiKey::from("secret".to_owned())).contains("secret"));
    }
}
