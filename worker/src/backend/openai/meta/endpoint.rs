//! The endpoints that return a reward model's score: what is sent, what is read, and which one can be used.
//!
//! | server | path | one score is |
//! |---|---|---|
//! | vLLM | `/classify` | `data[0].probs[0]`, activation off |
//! | vLLM | `/pooling` | `data[0].data[0]`, activation off |
//! | SGLang | `/classify` | `[0].embedding[0]` |
//!
//! Not used: vLLM's `/score`, which takes a pair of texts and applies a template of its own; and SGLang's
//! `/v1/classify`, which applies a softmax to the outputs: with one output that is always 1.

use jury_engine::Tokenizer;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ConnectError;
use crate::backend::openai::ability::common_tokens;
use crate::backend::openai::answer::of_error;
use crate::backend::openai::discover::{Found, Refusal};
use crate::backend::openai::error::{UpstreamError, excerpt};
use crate::backend::openai::flavour::Flavour;
use crate::backend::openai::http::Http;
use crate::backend::openai::prompt::Prompt;

/// Whether the server applies an activation to the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Activation(bool);

/// The model's raw output.
pub(super) const RAW: Activation = Activation(false);
const SQUASHED: Activation = Activation(true);

/// How to request a score from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    VllmClassify,
    VllmPooling,
    SgLangClassify,
}

/// A score, and the number of tokens read for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub(super) score: f64,
    /// As counted by the server; `None`: not reported.
    pub(super) prompt_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct List {
    data: Option<Vec<Item>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(alias = "probs", alias = "data")]
    embedding: Vec<f64>,
    meta_info: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: Option<u32>,
}

// === impl Endpoint ===

impl Endpoint {
    /// The first endpoint whose scores can rank samples: one finite number per text, different for different texts, and
    /// not squashed.
    pub(super) async fn find(
        url: &str,
        found: &Found,
        http: &Http,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Self, ConnectError> {
        let url = url.to_owned();
        let no_scores = |why: String| ConnectError::NoScores { url: url.clone(), why };
        let refused = |refusal: Refusal| ConnectError::Refused { url: url.clone(), refusal };
        let endpoints = Self::of(found.flavour);
        if endpoints.is_empty() {
            return Err(no_scores(format!(
                "{} has no endpoint that scores a conversation; a Meta RM takes vLLM or SGLang",
                found.flavour.name()
            )));
        }
        let prompts = match (tokenizer, found.flavour) {
            (None, Flavour::SgLang) => {
                let why = "SGLang scores no conversations as text; name the model's tokenizer with --tokenizer";
                return Err(no_scores(why.to_owned()));
            }
            (None, _) => ["4", "5"].map(said),
            (Some(tokenizer), _) => {
                let tokens = common_tokens(found, http, tokenizer).await.map_err(refused)?;
                [&tokens[..tokens.len() / 2], &tokens].map(|part| Prompt::Tokens(part.to_vec()))
            }
        };
        let mut why = String::new();
        for &endpoint in endpoints {
            match endpoint.try_out(http, &found.model, &prompts).await {
                Ok(()) => return Ok(endpoint),
                Err(error) if error.is_transient() => return Err(refused(error.into())),
                Err(error) if why.is_empty() => why = format!("{}: {error}", endpoint.path()),
                Err(_) => {}
            }
        }
        Err(no_scores(format!(
            "it gives no scores to rank by ({why}); it must serve a reward model with one output: vLLM started with \
             --runner pooling, SGLang with --is-embedding"
        )))
    }

    fn of(flavour: Flavour) -> &'static [Self] {
        match flavour {
            Flavour::Vllm => &[Self::VllmClassify, Self::VllmPooling],
            Flavour::SgLang => &[Self::SgLangClassify],
            Flavour::LlamaCpp | Flavour::TensorRtLlm | Flavour::Other => &[],
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::VllmClassify | Self::SgLangClassify => "/classify",
            Self::VllmPooling => "/pooling",
        }
    }

    /// Whether it accepts a `cache_salt`. vLLM does in versions whose pooling API has the field; older ones ignore it.
    /// SGLang's native endpoint does not have it.
    pub(super) fn takes_salts(self) -> bool {
        matches!(self, Self::VllmClassify | Self::VllmPooling)
    }

    /// The request for one conversation.
    pub(super) fn body(self, model: &str, prompt: &Prompt, activation: Activation) -> Value {
        let mut body = Map::new();
        body.insert("model".to_owned(), model.into());
        match (self, prompt) {
            (Self::SgLangClassify, Prompt::Tokens(tokens)) => {
                body.insert("input_ids".to_owned(), json!([tokens]));
            }
            (_, Prompt::Tokens(tokens)) => {
                body.insert("input".to_owned(), json!([tokens]));
                body.insert("add_special_tokens".to_owned(), false.into());
            }
            (_, Prompt::Turns { turns, .. }) => {
                let turns = turns.iter().map(|(role, text)| json!({"role": role, "content": text}));
                body.insert("messages".to_owned(), turns.collect());
                body.insert("add_generation_prompt".to_owned(), false.into());
            }
        }
        if self != Self::SgLangClassify {
            body.insert("use_activation".to_owned(), activation.0.into());
        }
        if self == Self::VllmPooling {
            body.insert("task".to_owned(), "classify".into());
        }
        Value::Object(body)
    }

    /// Parses an answer.
    ///
    /// # Errors
    /// If the answer is anything but one score.
    pub(super) fn read(self, json: &str) -> Result<Scored, UpstreamError> {
        let malformed = |what: &dyn std::fmt::Display| {
            UpstreamError::Malformed(format!("{what}: {}", excerpt(json)))
        };
        let (items, usage) = match json.trim_start().starts_with('[') {
            true => (serde_json::from_str(json).map_err(|error| malformed(&error))?, None),
            false => {
                let list: List = serde_json::from_str(json).map_err(|error| malformed(&error))?;
                if let Some(error) = list.error.filter(|error| !error.is_null()) {
                    return Err(of_error(&error));
                }
                let items = list.data.ok_or_else(|| malformed(&"it has no data"))?;
                (items, list.usage)
            }
        };
        let items: Vec<Item> = items;
        let [Item { embedding, meta_info }] = &items[..] else {
            let problem = format!("one text was sent, it scores {}", items.len());
            return Err(UpstreamError::Malformed(problem));
        };
        let &[score] = &embedding[..] else {
            let problem = format!(
                "it gives {} numbers for a text, a reward model gives one",
                embedding.len()
            );
            return Err(UpstreamError::Malformed(problem));
        };
        if !score.is_finite() {
            return Err(malformed(&"a score is no finite number"));
        }
        let prompt_tokens =
            meta_info.as_ref().or(usage.as_ref()).and_then(|usage| usage.prompt_tokens);
        Ok(Scored { score, prompt_tokens })
    }

    async fn try_out(
        self,
        http: &Http,
        model: &str,
        prompts: &[Prompt; 2],
    ) -> Result<(), UpstreamError> {
        let mut raw = Vec::new();
        for prompt in prompts {
            let Scored { score, prompt_tokens } = self.ask(http, model, prompt, RAW).await?;
            if let (Some(sent), Some(read)) = (prompt.tokens(), prompt_tokens)
                && sent != read
            {
                return Err(UpstreamError::WrongPrompt { sent, read });
            }
            raw.push(score);
        }
        if raw[0] == raw[1] {
            let problem = format!("two texts that differ have the same score, {}", raw[0]);
            return Err(UpstreamError::Malformed(problem));
        }
        if self != Self::SgLangClassify {
            // A server that ignores the field always squashes, and scores that are equal at the ends of its range would
            // be artificial ties.
            let squashed = self.ask(http, model, &prompts[0], SQUASHED).await?;
            if squashed.score == raw[0] {
                let problem = "it squashes its scores and cannot be asked not to (use_activation); take a newer server";
                return Err(UpstreamError::Malformed(problem.to_owned()));
            }
        }
        Ok(())
    }

    async fn ask(
        self,
        http: &Http,
        model: &str,
        prompt: &Prompt,
        activation: Activation,
    ) -> Result<Scored, UpstreamError> {
        self.read(&http.post(self.path(), &self.body(model, prompt, activation)).await?)
    }
}

fn said(answer: &str) -> Prompt {
    let turns = vec![("user", "What is 2 + 2?".to_owned()), ("assistant", answer.to_owned())];
    Prompt::Turns { turns, neutralised: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VLLM: &str = r#"{"id":"classify-1","object":"list","model":"judge","data":[{"index":0,"label":"LABEL_0",
        "probs":[-1.25],"num_classes":1}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#;

    #[test]
    fn a_score_is_read_where_each_server_puts_it() {
        let scored = |prompt_tokens| Scored { score: -1.25, prompt_tokens };
        assert_eq!(Endpoint::VllmClassify.read(VLLM), Ok(scored(Some(7))));
        let pooled = r#"{"data":[{"index":0,"object":"pooling","data":[-1.25]}],"usage":{"prompt_tokens":7}}"#;
        assert_eq!(Endpoint::VllmPooling.read(pooled), Ok(scored(Some(7))));
        let sglang = r#"[{"embedding":[-1.25],"meta_info":{"id":"x","prompt_tokens":9}}]"#;
        assert_eq!(Endpoint::SgLangClassify.read(sglang), Ok(scored(Some(9))));
        assert_eq!(Endpoint::SgLangClassify.read(r#"[{"embedding":[-1.25]}]"#), Ok(scored(None)));
    }

    #[test]
    fn what_is_no_single_finite_score_is_an_error() {
        for (json, said) in [
            (r#"{"data":[{"probs":[0.5,0.5]}]}"#, "2 numbers"),
            (r#"{"data":[{"probs":[]}]}"#, "0 numbers"),
            (r#"{"data":[{"data":[[0.1],[0.2]]}]}"#, "invalid type"),
            (r#"{"data":[{"probs":[1]},{"probs":[2]}]}"#, "it scores 2"),
            (r#"{"data":[]}"#, "it scores 0"),
            (r#"{"data":[{"probs":[null]}]}"#, "invalid type"),
            (r#"{"data":[{"probs":["8"]}]}"#, "invalid type"),
            (r#"{"data":[{"probs":[1e999]}]}"#, "out of range"),
            (r#"{"data":[{"probs":[NaN]}]}"#, "cannot be used"),
            (r#"{"error":{"message":"engine died","code":500}}"#, "engine died"),
            (r#"{"choices":[]}"#, "no data"),
            ("[]", "it scores 0"),
            ("", "cannot be used"),
        ] {
            let error = Endpoint::VllmClassify.read(json).unwrap_err();
            assert!(error.to_string().contains(said), "{json}: {error}");
        }
    }

    #[test]
    fn a_body_is_what_each_endpoint_documents() {
        let tokens = Prompt::Tokens(vec![2, 7]);
        let body = Endpoint::VllmClassify.body("m", &tokens, RAW);
        let expected = json!({"model": "m", "input": [[2, 7]], "add_special_tokens": false, "use_activation": false});
        assert_eq!(body, expected);
        assert_eq!(Endpoint::VllmPooling.body("m", &tokens, RAW)["task"], "classify");
        let sglang = Endpoint::SgLangClassify.body("m", &tokens, RAW);
        assert_eq!(sglang, json!({"model": "m", "input_ids": [[2, 7]]}));
        let turns = Endpoint::VllmClassify.body("m", &said("4"), RAW);
        assert_eq!(turns["messages"][1], json!({"role": "assistant", "content": "4"}));
        assert_eq!(turns["add_generation_prompt"], false);
    }
}
