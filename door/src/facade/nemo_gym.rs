//! `POST /verify`: a resources server of NeMo-Gym.
//!
//! The query is `responses_create_params.input` (a text or a list; `instructions` go before it as the system's turn). Of the list,
//! messages are turns, `function_call` is a call of the assistant's turn, `function_call_output` a tool's turn; reasoning is not
//! shown, and what is none of these is refused. The
//! response is the text of all the assistant's messages in `response.output`, including refusals, joined; reasoning, tool calls and
//! messages of other roles are not shown. A text or
//! number in `expected_answer` is the reference, texts in `criteria` are the criteria. The answer is the body with `reward` and `verdict`.
//!
//! Without a reward the answer is what NeMo-Gym itself writes when its judge fails: `_ng_failure_class` is `judge_failed`, which sends
//! the row to the failures file, out of all figures and back to be judged; its schema wants a number beside it, and Gym
//! writes 0.0. The class counts, not the number. With `unscored=NUMBER` that number is an ordinary reward.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::params::Params;
use super::places::{Places, TurnPlace};
use super::{Asked, Call, Incoming, Service, item, reference};
use crate::body;
use crate::error::Refused;
use crate::score::json;

const INPUT: &str = "responses_create_params.input";

/// Values of a rollout that only the training reads (NeMo-Gym's openai_utils.py).
const OF_THE_TRAINING: [&str; 4] =
    ["prompt_token_ids", "generation_token_ids", "generation_log_probs", "routed_experts"];
/// Fields that the answer adds, or replaces in a row that was judged before.
const ANSWERED: [&str; 4] = ["reward", "verdict", "_ng_failure_class", "_ng_failure_judge_error"];

const SERVICE: Service = Service { route: "POST /verify", trainer_waits: None };

pub(crate) async fn verify(incoming: Incoming) -> Result<Response, Refused> {
    // The answer repeats the body, which is kept as text: rollouts carry token ids, log probabilities and routes of
    // experts in millions of numbers, and a tree of them would take gigabytes.
    let asks = |call: &Call, text: String| {
        body::is_valid(&text)?;
        let shown = body::without(&text, &OF_THE_TRAINING);
        body::bounded(&shown)?;
        let fields = body::object(&shown)?;
        let is_answered = ANSWERED.iter().any(|name| fields.contains_key(*name));
        if is_answered {
            body::bounded(&text)?;
        }
        Ok((call.request(item_of(fields, &call.params)?, Map::new())?, (text, is_answered)))
    };
    let (call, (request, (text, is_answered))) = incoming.read_text(SERVICE, asks).await?;
    let judged = call.judge(request).await?;
    let mut added = Map::new();
    let reward = call.reward(&judged).unwrap_or_else(|reason| {
        added.insert("_ng_failure_class".to_owned(), "judge_failed".into());
        added.insert("_ng_failure_judge_error".to_owned(), reason.detail.clone().into());
        0.0
    });
    added.insert("reward".to_owned(), reward.into());
    let verdict = serde_json::to_value(&*judged.verdict).expect("domain types are JSON");
    added.insert("verdict".to_owned(), verdict);
    if is_answered {
        let mut answer = body::object(&text)?;
        answer.extend(added);
        return Ok(json(&answer));
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], extended(text, added)).into_response())
}

/// The text of an object with more fields at its end. `object` is valid JSON and has a field.
fn extended(mut object: String, added: Map<String, Value>) -> String {
    object.truncate(object.trim_end().len().saturating_sub(1));
    let added = Value::Object(added).to_string();
    object + "," + added.trim_start_matches('{')
}

fn item_of(mut body: Map<String, Value>, params: &Params) -> Result<Asked, Refused> {
    let Some(Value::Object(mut created)) = body.swap_remove("responses_create_params") else {
        return Err(Refused::invalid("responses_create_params", "is missing, or no object"));
    };
    let input = created.swap_remove("input");
    let input = input.ok_or_else(|| Refused::invalid(INPUT, "is missing"))?;
    let (query, turns) = query(input, created.get("instructions").and_then(Value::as_str))?;
    let output = body.get("response").and_then(|response| response["output"].as_array());
    let output =
        output.ok_or_else(|| Refused::invalid("response.output", "is missing, or no list"))?;
    let response = params.trimmed(&output_text(output)?).to_owned();
    let mut item = item(query, response, reference(body.get("expected_answer")));
    if let Some(criteria @ Value::Array(_)) = body.swap_remove("criteria") {
        item["criteria"] = criteria;
    }
    let places = Places {
        query: INPUT.to_owned(),
        turns,
        response: "response.output".to_owned(),
        reference: "expected_answer".to_owned(),
    };
    Ok(Asked { item, places })
}

/// What the policy was asked, and where each turn comes from.
fn query(input: Value, instructions: Option<&str>) -> Result<(Value, Vec<TurnPlace>), Refused> {
    let mut turns = Turns::default();
    if let Some(instructions) = instructions.filter(|text| !text.is_empty()) {
        let place = TurnPlace::From("responses_create_params.instructions".to_owned());
        turns.push(json!({"role": "system", "content": instructions}), place);
    }
    match input {
        Value::Array(listed) => turns.extend(listed)?,
        text if turns.turns.is_empty() => return Ok((text, Vec::new())),
        text => {
            let place = TurnPlace::From(INPUT.to_owned());
            turns.push(json!({"role": "user", "content": text}), place);
        }
    }
    Ok((Value::Array(turns.turns), turns.places))
}

/// The turns of a conversation as the Responses API lists it: what a model says and calls at once are items of their own there.
#[derive(Default)]
struct Turns {
    turns: Vec<Value>,
    places: Vec<TurnPlace>,
}

// === impl Turns ===

impl Turns {
    fn push(&mut self, turn: Value, place: TurnPlace) {
        self.turns.push(turn);
        self.places.push(place);
    }

    fn extend(&mut self, listed: Vec<Value>) -> Result<(), Refused> {
        for (at, one) in listed.into_iter().enumerate() {
            let place = format!("{INPUT}[{at}]");
            match one["type"].as_str() {
                Some("reasoning") => {}
                Some("function_call") => {
                    let function = json!({"name": one["name"], "arguments": one["arguments"]});
                    self.add_call(json!({"function": function}), place);
                }
                Some("function_call_output") => {
                    let turn = json!({"role": "tool", "content": one["output"]});
                    self.push(turn, TurnPlace::From(place));
                }
                Some(kind) if one.get("role").is_none() => {
                    let problem = format!(
                        "is of type {kind:?}, which is no text; leave it out, or say in a message what came of it"
                    );
                    return Err(Refused::invalid(&place, &problem));
                }
                _ => self.push(one, TurnPlace::As(place)),
            }
        }
        Ok(())
    }

    /// Adds a call to the assistant's turn before it, or as a turn of its own.
    fn add_call(&mut self, call: Value, place: String) {
        if self.turns.last().is_none_or(|turn| turn["role"] != "assistant") {
            let turn = json!({"role": "assistant", "content": null});
            self.push(turn, TurnPlace::From(place));
        }
        let turn =
            self.turns.last_mut().and_then(Value::as_object_mut).expect("a turn with a role");
        match turn.entry("tool_calls").or_insert(Value::Null) {
            Value::Array(calls) => calls.push(call),
            none => *none = json!([call]),
        }
    }
}

/// The text of all the assistant's messages. Agents also list what an environment said, as messages of other roles.
///
/// A message with text in an unknown form is rejected, because it would be judged as an empty one.
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

/// The text of a part. A refusal is text as well.
fn text_of(part: &Value) -> Option<&str> {
    match part["type"].as_str()? {
        "output_text" | "input_text" | "text" => part["text"].as_str(),
        "refusal" => part["refusal"].as_str(),
        _ => None,
    }
}
