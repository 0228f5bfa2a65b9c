//! `POST /verify`: a resources server of NeMo-Gym.
//!
//! The query is `responses_create_params.input` (a text or messages; `instructions` go before it as the system's turn), the
//! response is the text of all messages in `response.output`, joined; reasoning and calls of tools are not shown. A text or
//! number in `expected_answer` is the reference, texts in `criteria` are the criteria. The answer is the body with `reward` and `verdict`.
//!
//! Without a reward the answer is what NeMo-Gym itself writes when its judge fails: `_ng_failure_class` is `judge_failed`, which sends
//! the row to the failures file, out of all figures and back to be judged; its schema wants a number beside it, and Gym
//! writes 0.0. The class counts, not the number. With `unscored=NUMBER` that number is an ordinary reward.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::params::Params;
use super::{Call, Service, item, reference};
use crate::error::Refused;
use crate::judging::Caller;
use crate::score::json;

const SERVICE: Service = Service { route: "POST /verify", trainer_waits: None };

pub(crate) async fn verify(
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let asked = (query.as_deref(), &headers);
    let read = async {
        let (call, body) = Call::read(SERVICE, &caller, asked, body).await?;
        let request = call.request(item_of(&body, &call.params)?, Map::new())?;
        Ok((call, request, body))
    };
    let (call, request, mut answer) = caller.counted(read.await)?;
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
    let query = match created.get("instructions").and_then(Value::as_str) {
        Some(instructions) => after_instructions(instructions, input),
        None => input,
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

/// The text of all messages, as Gym's own judges take it.
fn output_text(output: &[Value]) -> String {
    let messages = output.iter().filter(|one| one["type"] == "message");
    let parts = messages.flat_map(|message| message["content"].as_array().into_iter().flatten());
    let texts = parts.filter(|part| part["type"] == "output_text");
    texts.filter_map(|part| part["text"].as_str()).collect()
}
