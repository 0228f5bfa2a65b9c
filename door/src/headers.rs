//! What a call says beside its body: its key, and how long it waits.
//!
//! `Idempotency-Key: KEY` is the request id of a body that has none. `Prefer: wait=SECONDS` (RFC 7240) is the
//! caller's patience: the budget is nine tenths of it where the body names none.

use std::time::Duration;

use axum::http::HeaderMap;
use jury_grm::budget_ms;
use jury_grm::domain::ScoreRequest;
use jury_proto::JuryError;

use crate::error::Refused;

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const PREFER: &str = "Prefer";

/// Puts what `headers` say into `request`.
pub(crate) fn apply(headers: &HeaderMap, request: &mut ScoreRequest) -> Result<(), Refused> {
    if let Some(key) = idempotency_key(headers)? {
        if !request.request_id.is_empty() && request.request_id != key {
            return Err(Refused::invalid(
                IDEMPOTENCY_KEY,
                "differs from the body's request_id; leave one of them out",
            ));
        }
        request.request_id = key;
        request.validate().map_err(JuryError::from)?;
    }
    request.budget_ms = budget_ms(request.budget_ms, patience(headers)?);
    Ok(())
}

/// How long the caller waits, if it says so.
pub(crate) fn patience(headers: &HeaderMap) -> Result<Option<Duration>, Refused> {
    for value in headers.get_all(PREFER) {
        let preferences = value.to_str().unwrap_or_default().split(',');
        for preference in preferences {
            let Some((name, value)) = preference.split_once('=') else { continue };
            if !name.trim().eq_ignore_ascii_case("wait") {
                continue;
            }
            let seconds = value.trim().trim_matches('"').parse();
            return seconds.map(|seconds| Some(Duration::from_secs(seconds))).map_err(|_| {
                Refused::invalid(PREFER, "wait must be a whole number of seconds, like wait=60")
            });
        }
    }
    Ok(None)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Refused::invalid(IDEMPOTENCY_KEY, "must be ASCII"))?;
    // Quotes belong to the header's syntax, not to the key.
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if key.is_empty() {
        return Err(Refused::invalid(IDEMPOTENCY_KEY, "is empty; leave it out"));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{Item, Query};

    use super::*;

    fn applied(
        headers: &[(&'static str, &str)],
        request_id: &str,
    ) -> Result<ScoreRequest, Refused> {
        let mut request = ScoreRequest::new(Item::bare(Query::Text("q".into()), vec!["a".into()]));
        request_id.clone_into(&mut request.request_id);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        apply(&map, &mut request).map(|()| request)
    }

    #[test]
    fn a_key_is_the_request_id_and_never_a_second_one() {
        assert_eq!(applied(&[("idempotency-key", "\"k-1\"")], "").unwrap().request_id, "k-1");
        assert_eq!(applied(&[("idempotency-key", "k-1")], "k-1").unwrap().request_id, "k-1");
        let refused = applied(&[("idempotency-key", "k-1")], "k-2").unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("Idempotency-Key"));
        let long = "k".repeat(257);
        let refused = applied(&[("idempotency-key", &long)], "").unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("request_id"));
    }

    #[test]
    fn a_caller_that_waits_a_minute_leaves_a_tenth_of_it_for_the_way_back() {
        let request = applied(&[("prefer", "respond-async, wait=60")], "").unwrap();
        assert_eq!(request.budget_ms.unwrap().get(), 54_000);
        assert_eq!(applied(&[("prefer", "return=minimal")], "").unwrap().budget_ms, None);
        let refused = applied(&[("prefer", "wait=1m")], "").unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("Prefer"));
    }
}
