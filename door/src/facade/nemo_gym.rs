//! `POST /verify`: a resources server of NeMo-Gym.
//!
//! The query is `responses_create_params.input` (a text or a list; `instructions` go before it as the system's turn). Of the list,
//! messages are turns, `function_call` is a call of the assistant's turn, `function_call_output` a tool's turn; reasoning is not
//! shown, and what is none of these is refused. The
//! response is the text of all the assistant's messages in `response.output`, joined, refusals among it; reasoning, calls of tools and
//! messages of other roles are not shown. A text or
//! number in `expected_answer` is the reference, texts in `criteria` are the criteria. The answer is the body with `reward` and `verdict`.
//!
//! Without a reward the answer is what NeMo-Gym itself writes when its judge fails: `_ng_failure_class` is `judge_failed`, which sends
//! the row to the failures file, out of all figures and back to be judged; its schema wants a number beside it, and Gym
//! writes 0.0. The class counts, not the number. With `unscored=NUMBER` that number is an ordinary reward.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::params::Params;
use super::{Call, Incoming, Service, item, reference};
use crate::body;
use crate::error::Refused;
use crate::score::json;

const SERVICE: Service = Service { route: "POST /verify", trainer_waits: None };

pub(crate) async fn verify(incoming: Incoming) -> Result<Response, Refused> {
    // The body is the answer's as well: as a text, which is far smaller than its values, until there is a verdict.
    let asks = |call: &Call, text: String| {
        let item = item_of(body::object(&text)?, &call.params)?;
        Ok((call.request(item, Map::new())?, text))
    };
    let (call, (request, text)) = incoming.read_text(SERVICE, asks).await?;
    let judged = call.judge(request).await?;
    let mut answer = body::object(&text)?;
    let reward = call.reward(&judged).unwrap_or_else(|reason| {
        answer.insert("_ng_failure_class".to_owned(), "judge_failed".into());
        answer.insert("_ng_failure_judge_error".to_owned(), reason.detail.clone().into());
        0.0
    });
    answer.insert("reward".to_owned(), reward.into());
    let verdict = serde_json::to_value(&*judged.verdict).expect("domain types are JSON");
    answer.insert("verdict".to_owned(), verdict);
    Ok(json(&answer))
}

fn item_of(mut body: Map<String, Value>, params: &Params) -> Result<Value, Refused> {
    let Some(Value::Object(mut created)) = body.swap_remove("responses_create_params") else {
        return Err(Refused::invalid("responses_create_params", "is missing, or no object"));
    };
    let input = match created.swap_remove("input") {
        None => return Err(Refused::invalid("responses_create_params.input", "is missing")),
        Some(Value::Array(listed)) => Value::Array(turns(listed)?),
        Some(text) => text,
    };
    let query = match created.get("instructions").and_then(Value::as_str) {
        None | Some("") => input,
        Some(instructions) => after_instructions(instructions, input),
    };
    let output = body.get("response").and_then(|response| response["output"].as_array());
    let output =
        output.ok_or_else(|| Refused::invalid("response.output", "is missing, or no list"))?;
    let response = params.trimmed(&output_text(output)?).to_owned();
    let mut item = item(query, response, reference(body.get("expected_answer")));
    if let Some(criteria @ Value::Array(_)) = body.swap_remove("criteria") {
        item["criteria"] = criteria;
    }
    Ok(item)
}

fn after_instructions(instructions: &str, input: Value) -> Value {
    let mut turns = vec![json!({"role": "system", "content": instructions})];
    match input {
        Value::Array(rest) => turns.extend(rest),
        text => turns.push(json!({"role": "user", "content": text})),
    }
    Value::Array(turns)
}

/// The turns of a conversation as the Responses API lists it: what a model says and calls at once are items of their own there.
fn turns(listed: Vec<Value>) -> Result<Vec<Value>, Refused> {
    let mut turns = Vec::new();
    for (at, one) in listed.into_iter().enumerate() {
        match one["type"].as_str() {
            Some("reasoning") => {}
            Some("function_call") => {
                let function = json!({"name": one["name"], "arguments": one["arguments"]});
                add_call(&mut turns, json!({"function": function}));
            }
            Some("function_call_output") => {
                turns.push(json!({"role": "tool", "content": one["output"]}));
            }
            Some(kind) if one.get("role").is_none() => {
                let problem = format!(
                    "is of type {kind:?}, which is no text; leave it out, or say in a message what came of it"
                );
                let field = format!("responses_create_params.input[{at}]");
                return Err(Refused::invalid(&field, &problem));
            }
            _ => turns.push(one),
        }
    }
    Ok(turns)
}

/// A call belongs to the turn of the assistant that it follows, or is one.
fn add_call(turns: &mut Vec<Value>, call: Value) {
    if turns.last().is_none_or(|turn| turn["role"] != "assistant") {
        turns.push(json!({"role": "assistant", "content": null}));
    }
    let turn = turns.last_mut().and_then(Value::as_object_mut).expect("a turn with a role");
    match turn.entry("tool_calls").or_insert(Value::Null) {
        Value::Array(calls) => calls.push(call),
        none => *none = json!([call]),
    }
}

/// What the assistant says in all its messages. Of other roles are the words of an environment, which agents put among them.
///
/// A message whose text has no known form is refused, since it would be judged as an empty one.
fn output_text(output: &[Value]) -> Result<String, Refused> {
    let mut said = String::new();
    for (at, message) in output.iter().enumerate() {
        let is_message = message["type"].is_null() || message["type"] == "message";
        if !is_message || message["role"] != "assistant" {
            continue;
        }
        let refused = |place: &str| {
            let problem = "must be a text, or a list of parts of type output_text, input_text, text or refusal";
            Refused::invalid(format!("response.output[{at}].content{place}"), problem)
        };
        match &message["content"] {
            Value::Null => {}
            Value::String(text) => said.push_str(text),
            Value::Array(parts) => {
                for (place, part) in parts.iter().enumerate() {
                    let text = text_of(part).ok_or_else(|| refused(&format!("[{place}]")))?;
                    said.push_str(text);
                }
            }
            _ => return Err(refused("")),
        }
    }
    Ok(said)
}

/// The text of a part; what a model says when it refuses is one as well.
fn text_of(part: &Value) -> Option<&str> {
    match part["type"].as_str()? {
        "output_text" | "input_text" | "text" => part["text"].as_str(),
        "refusal" => part["refusal"].as_str(),
        _ => None,
    }
}
