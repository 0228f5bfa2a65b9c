//! `POST /slime`: slime's remote reward model (`--rm-type remote_rm --rm-url`).
//!
//! `{"prompt": text or messages, "response": text, "label": text or null}` is an item with one response; the label is
//! its reference. The answer is the reward, a bare number: what slime makes of the body is the sample's reward.
//!
//! Without a reward the call is an error: slime tries it again, up to ten times and with growing waits, and then fails the rollout.
//! With `unscored=NUMBER` that number is the answer.

use std::time::Duration;

use axum::response::Response;
use serde_json::{Map, Value};

use super::params::Params;
use super::places::Places;
use super::{Asked, Call, Incoming, Service, item, reference, required};
use crate::error::Refused;
use crate::score::json;

/// `aiohttp.ClientTimeout(total=120)` in slime's rm_hub.
const SERVICE: Service =
    Service { route: "POST /slime", trainer_waits: Some(Duration::from_secs(120)) };

pub(crate) async fn reward(incoming: Incoming) -> Result<Response, Refused> {
    let asks = |call: &Call, body| call.request(item_of(body, &call.params)?, Map::new());
    let (call, request) = incoming.read(SERVICE, asks).await?;
    let judged = call.judge(request).await?;
    let reward = call.reward(&judged).map_err(Refused::unscored)?;
    Ok(json(&reward))
}

fn item_of(mut body: Map<String, Value>, params: &Params) -> Result<Asked, Refused> {
    let response = required(&mut body, "response")?;
    let response =
        response.as_str().ok_or_else(|| Refused::invalid("response", "must be a text"))?;
    let prompt = required(&mut body, "prompt")?;
    let item = item(prompt, params.trimmed(response).to_owned(), reference(body.get("label")));
    let places = Places {
        query: "prompt".to_owned(),
        response: "response".to_owned(),
        reference: "label".to_owned(),
        ..Places::default()
    };
    Ok(Asked { item, places })
}
