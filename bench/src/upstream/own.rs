//! The server's own way to draw k samples: one request with `n = k`.

use std::time::Duration;

use anyhow::{Context, anyhow};
use jury_grm::domain::Settings;
use serde_json::{Value, json};

/// A call that takes longer is given up.
const CALL_ENDS_WITHIN: Duration = Duration::from_secs(600);

/// A server that is called directly.
pub struct Own {
    agent: ureq::Agent,
    root: String,
    model: String,
}

// === impl Own ===

impl Own {
    /// `url` with or without `/v1`.
    pub fn new(url: &str, model: &str) -> Self {
        let root = url.trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root).trim_end_matches('/').to_owned();
        // The server is measured, not a proxy.
        let limits = ureq::Agent::config_builder().timeout_global(Some(CALL_ENDS_WITHIN));
        let agent = limits.proxy(None).build().new_agent();
        Self { agent, root, model: model.to_owned() }
    }

    /// Returns when all samples are complete.
    pub fn draw(&self, tokens: &[u32], k: u32, settings: &Settings) -> anyhow::Result<()> {
        let body = json!({
            "model": self.model, "prompt": tokens, "n": k, "seed": 1, "max_tokens": settings.max_critique_tokens,
            "temperature": settings.temperature, "top_p": settings.top_p, "stream": false,
        });
        let url = format!("{}/v1/completions", self.root);
        let body = serde_json::to_vec(&body)?;
        let mut response = self
            .agent
            .post(&url)
            .content_type("application/json")
            .send(&body[..])
            .with_context(|| format!("{url} with n = {k}"))?;
        let answer: Value = serde_json::from_str(&response.body_mut().read_to_string()?)?;
        let drawn = answer.get("choices").and_then(Value::as_array).map_or(0, Vec::len);
        match drawn == k as usize {
            true => Ok(()),
            false => Err(anyhow!(
                "the server was asked for {k} samples in one call and sent {drawn}; it has no way of its own to measure"
            )),
        }
    }

    /// The server's metrics page.
    pub fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("{}/metrics", self.root);
        let mut page = self.agent.get(&url).call().with_context(|| url.clone())?;
        Ok(page.body_mut().read_to_string()?)
    }
}
