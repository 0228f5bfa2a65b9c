//! `POST /get_reward`: OpenRLHF's remote reward model (`--reward.remote_url`).
//!
//! `{"query": [..], "prompts": [..], "labels": [..]}`. A query is the prompt and the response as the policy's tokenizer decodes them,
//! special tokens included; the response is what follows the prompt. Each query is an item of its own: the
//! prompt as one user message, and one response. A label that is a text or a number is the reference.
//!
//! ```text
//! {"rewards": [6.5], "scores": [0.61], "extra_logs": {"valid": 1, "n_valid": 8, ..}}
//! ```
//!
//! `scores` are the rewards on 0 to 1, which is what OpenRLHF filters groups by. Where a query has no reward the whole call is an
//! error: OpenRLHF tries it again, up to five times, and then goes on without a reward, which ends its step. With
//! `unscored=NUMBER` that number takes the reward's place, and `valid` tells it.

use std::time::Duration;

use axum::response::Response;
use futures::stream::{self, StreamExt, TryStreamExt};
use icu_normalizer::ComposingNormalizerBorrowed;
use jury_grm::domain::{Provenance, Scale, Verdict, VoteRule};
use serde_json::{Map, Value, json};

use super::params::Params;
use super::places::Places;
use super::{Asked, Call, Incoming, Judged, Service, item, reference, required};
use crate::error::Refused;
use crate::score::json;

/// `aiohttp.ClientTimeout(total=180)` in OpenRLHF's agent.py.
const SERVICE: Service =
    Service { route: "POST /get_reward", trainer_waits: Some(Duration::from_secs(180)) };
/// Most queries of one call; OpenRLHF sends one.
const MAX_QUERIES: usize = 1024;
/// Queries of one call that are judged at once.
const AT_ONCE: usize = 64;

pub(crate) async fn get_reward(incoming: Incoming) -> Result<Response, Refused> {
    let asks = |call: &Call, body| {
        let items = items(body, &call.params)?.into_iter();
        items.map(|item| call.request(item, Map::new())).collect::<Result<Vec<_>, _>>()
    };
    let (call, requests) = incoming.read(SERVICE, asks).await?;
    let call = &call;
    let judged = stream::iter(requests).map(|request| call.judge(request)).buffered(AT_ONCE);
    let judged: Vec<Judged> = judged.try_collect().await?;
    let rewards = judged.iter().map(|one| call.reward(one).map_err(Refused::unscored));
    let rewards: Vec<f64> = rewards.collect::<Result<_, _>>()?;
    let on_scale = |(one, reward): (&Judged, &f64)| share_of(&one.verdict, *reward);
    let scores: Vec<f64> = judged.iter().zip(&rewards).map(on_scale).collect();
    Ok(json(&json!({ "rewards": rewards, "scores": scores, "extra_logs": logs(&judged) })))
}

/// One item a query.
fn items(mut body: Map<String, Value>, params: &Params) -> Result<Vec<Asked>, Refused> {
    let queries = texts("query", required(&mut body, "query")?)?;
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    if queries.len() > MAX_QUERIES {
        return Err(Refused::invalid("query", &format!("at most {MAX_QUERIES} queries a call")));
    }
    let prompts = texts("prompts", required(&mut body, "prompts")?)?;
    let labels = body.get("labels").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if prompts.len() != queries.len() || (!labels.is_empty() && labels.len() != queries.len()) {
        let problem = format!("must be as many as queries, {}", queries.len());
        let field = if prompts.len() == queries.len() { "labels" } else { "prompts" };
        return Err(Refused::invalid(field, &problem));
    }
    let items = queries.into_iter().zip(prompts).enumerate().map(|(at, (query, prompt))| {
        let response = response(&query, &prompt).ok_or_else(|| {
            let problem = format!("does not begin with prompts[{at}], so its response is unknown");
            Refused::invalid(format!("query[{at}]"), &problem)
        })?;
        let response = params.trimmed(response).to_owned();
        let mut item = item(Value::from(prompt), response, reference(labels.get(at)));
        // The queries of one call share its Idempotency-Key, under which each item needs an id of its own.
        item["id"] = Value::from(at.to_string());
        let places = Places {
            query: format!("prompts[{at}]"),
            response: format!("query[{at}]"),
            reference: format!("labels[{at}]"),
            ..Places::default()
        };
        Ok(Asked { item, places })
    });
    items.collect()
}

/// What follows `prompt` in `query`. White space before either does not count, since tokenizers drop it; and since
/// some normalise their text, the prompt may be there in its form NFC or NFKC.
fn response<'a>(query: &'a str, prompt: &str) -> Option<&'a str> {
    let follows = |prompt: &str| {
        query.strip_prefix(prompt).or_else(|| query.trim_start().strip_prefix(prompt.trim_start()))
    };
    follows(prompt)
        .or_else(|| follows(&ComposingNormalizerBorrowed::new_nfc().normalize(prompt)))
        .or_else(|| follows(&ComposingNormalizerBorrowed::new_nfkc().normalize(prompt)))
}

fn texts(name: &str, value: Value) -> Result<Vec<String>, Refused> {
    let Value::Array(list) = value else {
        return Err(Refused::invalid(name, "must be a list of texts"));
    };
    let text = |(at, element)| match element {
        Value::String(text) => Ok(text),
        _ => Err(Refused::invalid(format!("{name}[{at}]"), "must be a text")),
    };
    list.into_iter().enumerate().map(text).collect()
}

/// A reward's place between the lowest and the highest that there is, 0 to 1. A majority's rewards are shares already.
fn share_of(verdict: &Verdict, reward: f64) -> f64 {
    let Provenance { settings, voting, .. } = &verdict.provenance;
    let scale = match voting.effective_rule() {
        VoteRule::Majority => Scale::BINARY,
        VoteRule::Mean | VoteRule::Top | VoteRule::Weighted => settings.scale,
    };
    scale.share_of(reward)
}

/// Means over the call's queries, always under the same keys.
fn logs(judged: &[Judged]) -> Value {
    if judged.is_empty() {
        return json!({});
    }
    let mean = |of: fn(&Judged) -> f64| judged.iter().map(of).sum::<f64>() / judged.len() as f64;
    json!({
        "valid": mean(|one| f64::from(u8::from(one.outcome.is_ok()))),
        "n_requested": mean(|one| one.verdict.counts.asked.into()),
        "n_valid": mean(|one| one.verdict.counts.valid.into()),
        "n_parse_failed": mean(|one| one.verdict.counts.parse_failed.into()),
        "n_timed_out": mean(|one| one.verdict.counts.timed_out.into()),
        "queue_s": mean(|one| one.verdict.run.queue_ms as f64 / 1000.0),
        "latency_s": mean(|one| one.verdict.run.total_ms as f64 / 1000.0),
        "tokens": mean(|one| one.verdict.usage.generated_tokens as f64),
        "cached_tokens": mean(|one| one.verdict.run.cached_tokens as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_what_follows_the_prompt() {
        assert_eq!(response("2 + 2 = 4", "2 + 2 ="), Some(" 4"));
        assert_eq!(response("prompt", "prompt"), Some(""));
        assert_eq!(response("q: a", " q:"), Some(" a"), "a tokenizer may drop the first space");
        assert_eq!(response("Qu\u{e9}? a", "Que\u{301}?"), Some(" a"), "Qwen's tokenizers compose");
        assert_eq!(response("fine \u{fb01}", "\u{fb01}ne"), Some(" \u{fb01}"));
        assert_eq!(response("another", "prompt"), None);
    }

    #[test]
    fn a_score_is_the_rewards_place_on_its_scale() {
        assert_eq!(Scale::POINTWISE.share_of(1.0), 0.0);
        assert_eq!(Scale::POINTWISE.share_of(10.0), 1.0);
        assert_eq!(Scale::BINARY.share_of(0.25), 0.25);
        assert_eq!(Scale::POINTWISE.share_of(-5.0), 0.0, "a stand-in may lie anywhere");
    }
}
