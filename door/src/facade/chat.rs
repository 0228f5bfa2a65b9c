//! `POST /v1/chat/completions`: a reward model for clients of OpenAI's API.
//!
//! The conversation ends in the assistant's message, which is the response; what comes before it is the query. The answer's
//! text is `reward:7.25`, as reward models behind this API write it, and `verdict` has the rest. It is no model that follows a
//! judge's prompt of somebody else's making.
//!
//! `temperature`, `top_p` and `seed` are the settings of these names, `max_tokens` and `max_completion_tokens` bound a critique, and
//! `model` names the model that must judge, `jury` whichever there is. Without a reward the call is an error.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::places::Places;
use super::{Asked, Call, Incoming, Service, required};
use crate::error::Refused;
use crate::score::json;

/// A client has to name a model; this one is whichever there is.
const ANY_MODEL: &str = "jury";

const NO_MESSAGES: &str = "must be a list that ends in the assistant's message, which is judged";

const SERVICE: Service = Service { route: "POST /v1/chat/completions", trainer_waits: None };

pub(crate) async fn completions(incoming: Incoming) -> Result<Response, Refused> {
    let asks = |call: &Call, mut body| {
        let item = item_of(&mut body)?;
        call.request(item, fields_of(&body)?)
    };
    let (call, request) = incoming.read(SERVICE, asks).await?;
    let judged = call.judge(request).await?;
    let reward = call.reward(&judged).map_err(Refused::unscored)?;
    let verdict = &*judged.verdict;
    let usage = verdict.usage;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(json(&json!({
        "id": format!("chatcmpl-{}", verdict.run.request_id),
        "object": "chat.completion",
        "created": since_epoch.as_secs(),
        "model": verdict.provenance.model.as_deref().unwrap_or(ANY_MODEL),
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": format!("reward:{reward}")},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.generated_tokens,
            "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        },
        "verdict": verdict,
    })))
}

fn item_of(body: &mut Map<String, Value>) -> Result<Asked, Refused> {
    let Value::Array(mut query) = required(body, "messages")? else {
        return Err(Refused::invalid("messages", NO_MESSAGES));
    };
    let response = query.pop().filter(|response| response["role"] == "assistant");
    let response = response.ok_or_else(|| Refused::invalid("messages", NO_MESSAGES))?;
    let places = Places {
        query: "messages".to_owned(),
        response: format!("messages[{}]", query.len()),
        ..Places::default()
    };
    let item = [("query", Value::Array(query)), ("responses", Value::Array(vec![response]))];
    let item = item.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Asked { item, places })
}

/// What else a body asks for.
fn fields_of(body: &Map<String, Value>) -> Result<Map<String, Value>, Refused> {
    let given = |name: &str| body.get(name).filter(|value| !value.is_null());
    if given("stream").is_some_and(|stream| stream != false) {
        return Err(Refused::invalid("stream", "a verdict comes whole; leave it out"));
    }
    if given("n").is_some_and(|n| n != 1) {
        return Err(Refused::invalid(
            "n",
            "one reward a call; leave it out. k is the parameter ?k=N",
        ));
    }
    let mut settings = Map::new();
    let max_tokens = given("max_completion_tokens").or_else(|| given("max_tokens"));
    for (name, value) in [
        ("temperature", given("temperature")),
        ("top_p", given("top_p")),
        ("max_critique_tokens", max_tokens),
    ] {
        settings.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    let mut fields = Map::from_iter([("settings".to_owned(), Value::Object(settings))]);
    fields.extend(given("seed").map(|seed| ("seed".to_owned(), seed.clone())));
    let model = given("model").filter(|model| *model != ANY_MODEL);
    fields.extend(model.map(|model| ("model".to_owned(), model.clone())));
    Ok(fields)
}
