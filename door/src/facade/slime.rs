//! `POST /slime`: slime's remote reward model (`--rm-type remote_rm --rm-url`).
//!
//! `{"prompt": text or messages, "response": text, "label": text or null}` is an item with one response; the label is
//! its reference. The answer is the reward, a bare number: what slime makes of the body is the sample's reward.
//!
//! Without a reward the call is an error: slime tries it again, up to ten times and with growing waits, and then fails the rollout.
//! With `unscored=NUMBER` that number is the answer.

use std::time::Duration;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value};

use super::{Call, Service, item, reference, required};
use crate::error::Refused;
use crate::judging::Caller;
use crate::score::json;

/// `aiohttp.ClientTimeout(total=120)` in slime's rm_hub.
const SERVICE: Service =
    Service { route: "POST /slime", trainer_waits: Some(Duration::from_secs(120)) };

pub(crate) async fn reward(
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let asked = (query.as_deref(), &headers);
    let read = async {
        let (call, body) = Call::read(SERVICE, &caller, asked, body).await?;
        let response = required(&body, "response")?;
        let response =
            response.as_str().ok_or_else(|| Refused::invalid("response", "must be a text"))?;
        let prompt: Value = required(&body, "prompt")?.clone();
        let item = item(prompt, call.params.trimmed(response), reference(body.get("label")));
        let request = call.request(item, Map::new())?;
        Ok((call, request))
    };
    let (call, request) = caller.counted(read.await)?;
    let judged = call.judge(request).await?;
    let reward = call.reward(&judged).map_err(Refused::unscored)?;
    Ok(json(&reward))
}
