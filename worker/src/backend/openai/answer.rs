//! Converts an upstream's JSON to what we use of it. Pure; nothing is taken on trust.

use serde::Deserialize;
use serde_json::Value;

use super::error::{UpstreamError, excerpt};
use super::too_long;

/// Maximum sum of the probabilities of one position: tolerates rounding.
const MOST_MASS: f64 = 1.01;

/// One step of a stream, or a whole answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Answer {
    /// The model's own text.
    pub(super) text: String,
    /// Thoughts that the upstream reports separately.
    pub(super) reasoning: String,
    /// Why the text ended; `None` while it continues.
    pub(super) end: Option<End>,
    /// Token counts so far.
    pub(super) counted: Counted,
    /// The likeliest tokens of the first position, most likely first.
    pub(super) listed: Vec<Listed>,
}

/// Why the upstream stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    EndOfText,
    Limit,
}

/// Token counts, if the upstream reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counted {
    pub(super) prompt: Option<u32>,
    pub(super) cached: Option<u32>,
    pub(super) generated: Option<u32>,
}

/// A token with its probability.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    pub(super) text: String,
    /// Natural logarithm, at temperature 1 and before top-p.
    pub(super) logprob: f64,
}

#[derive(Debug, Deserialize)]
struct Wire {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    timings: Option<Timings>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    text: Option<String>,
    #[serde(alias = "message")]
    delta: Option<Message>,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<String>,
    /// Both names are in use; some servers send both.
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

/// llama.cpp's counts, sent with every token of a stream.
#[derive(Debug, Deserialize)]
struct Timings {
    cache_n: Option<u32>,
    prompt_n: Option<u32>,
    predicted_n: Option<u32>,
}

/// Both forms are in use: a list of positions, or lists of their parts.
#[derive(Debug, Deserialize)]
struct Logprobs {
    content: Option<Vec<Position>>,
    top_logprobs: Option<Vec<Option<serde_json::Map<String, Value>>>>,
}

#[derive(Debug, Deserialize)]
struct Position {
    top_logprobs: Option<Vec<WireToken>>,
}

#[derive(Debug, Deserialize)]
struct WireToken {
    token: String,
    logprob: f64,
}

/// Parses one JSON object of an upstream.
pub(super) fn read(json: &str) -> Result<Answer, UpstreamError> {
    let wire: Wire = serde_json::from_str(json)
        .map_err(|error| UpstreamError::Malformed(format!("{error}: {}", excerpt(json))))?;
    if let Some(error) = wire.error.filter(|error| !error.is_null()) {
        return Err(of_error(&error));
    }
    let counted = counted(wire.usage, wire.timings.as_ref());
    let Some(mut choices) = wire.choices else {
        return Err(UpstreamError::Malformed(format!("it has no choices: {}", excerpt(json))));
    };
    match (choices.pop(), choices.len()) {
        // The last event of a stream may report only the usage.
        (None, _) => Ok(Answer { counted, ..Answer::default() }),
        (Some(choice), 0) if choice.index == 0 => choice.answer(counted),
        (Some(choice), others) => {
            Err(UpstreamError::WrongCount((others + 1).max(choice.index as usize + 1)))
        }
    }
}

/// An error object in the forms that upstreams use: `{"message", "code"}`, or a text.
pub(super) fn of_error(error: &Value) -> UpstreamError {
    let words = error.get("message").and_then(Value::as_str).or_else(|| error.as_str());
    let tokens = |field: &str| Some(u32::try_from(error.get(field)?.as_u64()?).unwrap_or(u32::MAX));
    if let (Some(prompt_tokens), Some(context_tokens)) =
        (tokens("n_prompt_tokens"), tokens("n_ctx"))
    {
        return UpstreamError::TooLong { prompt_tokens, context_tokens };
    }
    if let Some(too_long) = words.and_then(too_long::read) {
        return too_long;
    }
    let message = excerpt(words.unwrap_or(&error.to_string()));
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    UpstreamError::ErrorBody { code, message }
}

fn counted(usage: Option<Usage>, timings: Option<&Timings>) -> Counted {
    let mut counted = Counted::default();
    if let Some(&Timings { cache_n, prompt_n, predicted_n }) = timings {
        counted.prompt = prompt_n.map(|computed| computed.saturating_add(cache_n.unwrap_or(0)));
        (counted.cached, counted.generated) = (cache_n, predicted_n);
    }
    if let Some(usage) = usage {
        let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
        counted.prompt = usage.prompt_tokens.or(counted.prompt);
        counted.cached = cached.or(counted.cached);
        counted.generated = usage.completion_tokens.or(counted.generated);
    }
    counted
}

// === impl Choice ===

impl Choice {
    fn answer(self, counted: Counted) -> Result<Answer, UpstreamError> {
        let end = match self.finish_reason.as_deref() {
            None => None,
            Some("stop") => Some(End::EndOfText),
            Some("length") => Some(End::Limit),
            Some(other) => {
                let problem = format!("finish_reason is {:?}", excerpt(other));
                return Err(UpstreamError::Malformed(problem));
            }
        };
        let (content, reasoning) = match self.delta {
            Some(Message { content, reasoning_content, reasoning }) => {
                (content, reasoning_content.filter(|thought| !thought.is_empty()).or(reasoning))
            }
            None => (self.text, None),
        };
        let listed = self.logprobs.map(Logprobs::first).unwrap_or_default();
        if listed.iter().any(|token| token.logprob.is_nan() || token.logprob > 1e-3) {
            return Err(UpstreamError::Malformed(
                "a log-probability is no number below 0".to_owned(),
            ));
        }
        let mass: f64 = listed.iter().map(|token| token.logprob.exp()).sum();
        if mass > MOST_MASS {
            let problem = format!("the probabilities of one position add up to {mass:.3}");
            return Err(UpstreamError::Malformed(problem));
        }
        let (text, reasoning) = (content.unwrap_or_default(), reasoning.unwrap_or_default());
        Ok(Answer { text, reasoning, end, counted, listed })
    }
}

// === impl Logprobs ===

impl Logprobs {
    fn first(self) -> Vec<Listed> {
        let positions = self.content.unwrap_or_default();
        if let Some(tokens) = positions.into_iter().next().and_then(|first| first.top_logprobs) {
            let listed = |token: WireToken| Listed { text: token.token, logprob: token.logprob };
            return tokens.into_iter().map(listed).collect();
        }
        let first = self.top_logprobs.unwrap_or_default().into_iter().next().flatten();
        let listed = |(text, logprob): (String, Value)| Listed {
            text,
            logprob: logprob.as_f64().unwrap_or(f64::NAN),
        };
        first.unwrap_or_default().into_iter().map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_kept_apart_from_the_text_under_both_names() {
        for name in ["reasoning_content", "reasoning"] {
            let json = format!(r#"{{"choices":[{{"delta":{{"{name}":"\\boxed{{1}}"}}}}]}}"#);
            let answer = read(&json).unwrap();
            assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("", r"\boxed{1}"));
        }
        for both in [
            r#"{"reasoning_content":"a","reasoning":"a"}"#,
            r#"{"reasoning_content":null,"reasoning":"a"}"#,
            r#"{"reasoning_content":"a","reasoning":null}"#,
            r#"{"reasoning_content":"","reasoning":"a"}"#,
        ] {
            let answer = read(&format!(r#"{{"choices":[{{"delta":{both}}}]}}"#)).unwrap();
            assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), ("", "a"));
        }
    }

    #[test]
    fn probabilities_that_are_none_are_an_error() {
        let position = |second: f64| {
            read(&format!(
                r#"{{"choices":[{{"text":"8","logprobs":{{"content":[{{"top_logprobs":[
                {{"token":"8","logprob":-0.1}},{{"token":"7","logprob":{second}}}]}}]}}}}]}}"#
            ))
        };
        assert!(position(-3.0).is_ok());
        assert!(position(-0.1).unwrap_err().to_string().contains("add up to 1.8"));
    }

    #[test]
    fn more_than_one_choice_is_an_error() {
        let two = r#"{"choices":[{"index":0,"text":"a"},{"index":1,"text":"b"}]}"#;
        assert_eq!(read(two), Err(UpstreamError::WrongCount(2)));
        let second = r#"{"choices":[{"index":3,"text":"b"}]}"#;
        assert_eq!(read(second), Err(UpstreamError::WrongCount(4)));
    }

    #[test]
    fn an_error_in_a_success_is_an_error() {
        let error = read(r#"{"error":{"message":"out of memory","code":503}}"#).unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("out of memory"), "{error}");
        let error = read(r#"{"error":{"n_prompt_tokens":3000,"n_ctx":2048}}"#).unwrap_err();
        assert_eq!(error, UpstreamError::TooLong { prompt_tokens: 3000, context_tokens: 2048 });
        assert!(read(r#"{"error":"no"}"#).unwrap_err().to_string().contains("no"));
    }

    #[test]
    fn garbage_is_an_error() {
        for json in ["", "null", "[]", "{}", "<html>", r#"{"choices":7}"#, "{\"choices\":[{\"te"] {
            assert!(matches!(read(json), Err(UpstreamError::Malformed(_))), "{json}");
        }
        let aborted = r#"{"choices":[{"text":"","finish_reason":"abort"}]}"#;
        assert!(matches!(read(aborted), Err(UpstreamError::Malformed(_))));
    }

    #[test]
    fn both_forms_of_log_probabilities_are_read() {
        let listed = [Listed { text: "8".to_owned(), logprob: -0.5 }];
        let position = r#"{"choices":[{"text":"8","logprobs":{"content":[{"top_logprobs":[{"token":"8","logprob":-0.5}]}]}}]}"#;
        let parts =
            r#"{"choices":[{"text":"8","logprobs":{"tokens":["8"],"top_logprobs":[{"8":-0.5}]}}]}"#;
        assert_eq!(read(position).unwrap().listed, listed);
        assert_eq!(read(parts).unwrap().listed, listed);
        let null = r#"{"choices":[{"text":"8","logprobs":{"top_logprobs":[{"8":null}]}}]}"#;
        assert!(matches!(read(null), Err(UpstreamError::Malformed(_))));
    }
}
