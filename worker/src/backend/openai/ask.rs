//! The body of one request. Pure.

use serde_json::{Map, Value, json};

use super::flavour::Flavour;
use super::prompt::Prompt;

/// A request for one completion.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) flavour: Flavour,
    /// The model's name at the upstream.
    pub(super) model: &'a str,
    pub(super) prompt: &'a Prompt,
    /// Separates prompts in the upstream's caches, if it supports that.
    pub(super) cache_salt: Option<&'a str>,
    /// The model's own turn so far, to be continued; empty at its beginning.
    pub(super) begun: Begun<'a>,
    pub(super) seed: u64,
    pub(super) wanted: Wanted,
}

/// The beginning of the model's turn, in the same form as the prompt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begun<'a> {
    pub(super) text: &'a str,
    /// The same as tokens; unused if the prompt consists of turns.
    pub(super) tokens: &'a [u32],
}

/// What is requested.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// A text, streamed.
    Text { temperature: f64, top_p: f64, max_tokens: u32 },
    /// Only the number of the prompt's tokens.
    Count,
    /// The probabilities of the next token.
    Probabilities {
        /// How many of the likeliest tokens.
        listed: u32,
        /// Only these tokens, if the upstream supports naming them.
        of_tokens: Option<Vec<u32>>,
    },
}

// === impl Ask ===

impl Ask<'_> {
    /// The path of the endpoint.
    pub(super) fn path(&self) -> &'static str {
        match self.prompt {
            Prompt::Tokens(_) => "/v1/completions",
            Prompt::Turns { .. } => "/v1/chat/completions",
        }
    }

    /// The body of the request.
    pub(super) fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("model".to_owned(), self.model.into());
        self.flavour.plain_sampling(&mut body);
        self.put_prompt(&mut body);
        if let Some(salt) = self.cache_salt.filter(|_| self.flavour.takes_salts()) {
            body.insert("cache_salt".to_owned(), salt.into());
        }
        body.insert("n".to_owned(), 1.into());
        body.insert("seed".to_owned(), self.flavour.seed(self.seed).into());
        match &self.wanted {
            Wanted::Text { temperature, top_p, max_tokens } => {
                let streamed = json!({
                    "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "stream": true,
                    "stream_options": self.flavour.stream_options(),
                });
                put(&mut body, streamed);
            }
            Wanted::Count => put(&mut body, json!({"max_tokens": 1, "stream": false})),
            // At temperature 1, because some upstreams report the probabilities that they draw from.
            Wanted::Probabilities { listed, of_tokens } => {
                put(
                    &mut body,
                    json!({"temperature": 1.0, "top_p": 1.0, "max_tokens": 1, "stream": false}),
                );
                match self.prompt {
                    Prompt::Tokens(_) => put(&mut body, json!({"logprobs": listed})),
                    Prompt::Turns { .. } => {
                        put(&mut body, json!({"logprobs": true, "top_logprobs": listed}));
                    }
                }
                if let Some(tokens) = of_tokens {
                    put(&mut body, json!({"logprob_token_ids": tokens}));
                }
            }
        }
        Value::Object(body)
    }

    fn put_prompt(&self, body: &mut Map<String, Value>) {
        match self.prompt {
            Prompt::Tokens(tokens) => {
                let all: Vec<u32> = tokens.iter().chain(self.begun.tokens).copied().collect();
                body.insert("prompt".to_owned(), all.into());
            }
            Prompt::Turns { turns, .. } => {
                let mut messages: Vec<Value> = turns
                    .iter()
                    .map(|(role, text)| json!({"role": role, "content": text}))
                    .collect();
                if !self.begun.text.is_empty() {
                    messages.push(json!({"role": "assistant", "content": self.begun.text}));
                    if matches!(self.flavour, Flavour::Vllm | Flavour::SgLang) {
                        put(
                            body,
                            json!({"continue_final_message": true, "add_generation_prompt": false}),
                        );
                    }
                }
                body.insert("messages".to_owned(), messages.into());
            }
        }
    }
}

fn put(body: &mut Map<String, Value>, fields: Value) {
    if let Value::Object(fields) = fields {
        body.extend(fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Wanted = Wanted::Text { temperature: 0.5, top_p: 0.9, max_tokens: 64 };

    fn body(flavour: Flavour, prompt: &Prompt, begun: Begun<'_>, wanted: Wanted) -> Value {
        Ask { flavour, model: "m", prompt, cache_salt: Some("s"), begun, seed: 7, wanted }.body()
    }

    fn turns() -> Prompt {
        Prompt::Turns { turns: vec![("user", "hi".to_owned())], neutralised: 0 }
    }

    #[test]
    fn a_sample_is_one_request_with_its_seed_and_a_cap_on_tokens() {
        for flavour in [Flavour::LlamaCpp, Flavour::Vllm, Flavour::SgLang, Flavour::Other] {
            let prompt = Prompt::Tokens(vec![1, 2]);
            let body = body(flavour, &prompt, Begun::default(), TEXT);
            assert_eq!(body["prompt"], json!([1, 2]));
            let fields = ["n", "seed", "max_tokens", "stream"].map(|field| body[field].clone());
            assert_eq!(fields, [json!(1), json!(7), json!(64), json!(true)]);
        }
    }

    #[test]
    fn a_salt_goes_to_servers_that_keep_caches_apart_by_it_with_every_request() {
        let probabilities = Wanted::Probabilities { listed: 20, of_tokens: None };
        for wanted in [TEXT, Wanted::Count, probabilities] {
            for prompt in [Prompt::Tokens(vec![1, 2]), turns()] {
                let salt = |flavour| {
                    body(flavour, &prompt, Begun::default(), wanted.clone())
                        .get("cache_salt")
                        .cloned()
                };
                assert_eq!(salt(Flavour::Vllm), Some(json!("s")));
                assert_eq!(salt(Flavour::SgLang), Some(json!("s")));
                for flavour in [Flavour::LlamaCpp, Flavour::TensorRtLlm, Flavour::Other] {
                    assert_eq!(salt(flavour), None, "{flavour:?}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_server_gets_no_field_that_openai_does_not_document() {
        let body = body(Flavour::Other, &turns(), Begun::default(), TEXT);
        let known = [
            "model",
            "messages",
            "n",
            "seed",
            "temperature",
            "top_p",
            "max_tokens",
            "stream",
            "stream_options",
        ];
        let Value::Object(fields) = body else { panic!() };
        assert!(fields.keys().all(|field| known.contains(&field.as_str())), "{fields:?}");
    }

    #[test]
    fn a_turn_that_has_begun_is_continued() {
        let begun = Begun { text: "Scores: \\boxed{", tokens: &[3, 4] };
        let wanted = Wanted::Probabilities { listed: 20, of_tokens: None };
        let tokens = body(Flavour::Vllm, &Prompt::Tokens(vec![1, 2]), begun, wanted.clone());
        assert_eq!((&tokens["prompt"], &tokens["logprobs"]), (&json!([1, 2, 3, 4]), &json!(20)));
        let turns = body(Flavour::Vllm, &turns(), begun, wanted);
        assert_eq!(turns["messages"][1]["content"], "Scores: \\boxed{");
        assert_eq!(turns["continue_final_message"], true);
    }
}
