//! `POST /verify`: a resources server of NeMo-Gym.
//!
//! The query is `responses_create_params.input` (a text or a list; `instructions` go before it as the system's turn). Of the list,
//! messages are turns, `function_call` is a call of the assistant's turn, `function_call_output` a tool's turn; reasoning is not
//! shown, and what is none of these is refused. The
//! response is the text of all messages in `response.output`, joined, refusals among it; reasoning and calls of tools are not shown. A text or
//! number in `expected_answer` is the reference, texts in `criteria` are the criteria. The answer is the body with `reward` and `verdict`.
//!
//! Without a reward the answer is what NeMo-Gym itself writes when its judge fails: `_ng_failure_class` is `judge_failed`, which sends
//! the row to the failures file, out of all figures and back to be judged; its schema wants a number beside it, and Gym
//! writes 0.0. The class counts, not the number. With `unscored=NUMBER` that number is an ordinary reward.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::params::Params;
use super::{Call, Incoming, Service, item, reference};
use crate::error::Refused;
use crate::score::json;

const SERVICE: Service = Service { route: "POST /verify", trainer_waits: None };

pub(crate) async fn verify(incoming: Incoming) -> Result<Response, Refused> {
    let asks = |call: &Call, body| {
        let request = call.request(item_of(&body, &call.params)?, Map::new())?;
        Ok((request, body))
    };
    let (call, (request, mut answer)) = incoming.read(SERVICE, asks).await?;
    let judged = call.judge(request).await?;
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

fn item_of(body: &Map<String, Value>, params: &Params) -> Result<Value, Refused> {
    let created = body.get("responses_create_params").and_then(Value::as_object);
    let created = created
        .ok_or_else(|| Refused::invalid("responses_create_params", "is missing, or no object"))?;
    let input = created.get("input").cloned();
    let input =
        input.ok_or_else(|| Refused::invalid("responses_create_params.input", "is missing"))?;
    let input = match input {
        Value::Array(listed) => Value::Array(turns(listed)?),
        text => text,
    };
    let query = match created.get("instructions").and_then(Value::as_str) {
        None | Some("") => input,
        Some(instructions) => after_instructions(instructions, input),
    };
    let output = body.get("response").and_then(|response| response["output"].as_array());
    let output =
        output.ok_or_else(|| Refused::invalid("response.output", "is missing, or no list"))?;
    let response = output_text(output);
    let mut item = item(query, params.trimmed(&response), reference(body.get("expected_answer")));
    if let Some(criteria) = body.get("criteria").filter(|criteria| criteria.is_array()) {
        item["criteria"] = criteria.clone();
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

/// The text of all messages, as Gym's own judges take it. What a model says when it refuses is a text, too: without it, an empty
/// response would be judged.
fn output_text(output: &[Value]) -> String {
    let messages = output.iter().filter(|one| one["type"] == "message");
    let parts = messages.flat_map(|message| message["content"].as_array().into_iter().flatten());
    let texts = parts.filter_map(|part| match part["type"].as_str()? {
        "output_text" => part["text"].as_str(),
        "refusal" => part["refusal"].as_str(),
        _ => None,
    });
    texts.collect()
}
