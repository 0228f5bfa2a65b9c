//! `POST /v1/score` and `POST /v1/score/stream`: the contract itself, in JSON.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use jury_coordinator::progress::{self, Teller};
use jury_grm::domain::{Progress, ScoreRequest, Verdict};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::Refused;
use crate::judging::Caller;
use crate::{body, headers, unknown};

/// Events that may wait for the caller to read them; progress leaves the last place to the verdict.
const BACKLOG: usize = 4;
/// Proxies close what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Names the keys of the body that nobody looks at.
const UNKNOWN_FIELDS: &str = "jury-unknown-fields";

/// What a stream tells.
enum Told {
    Progress(Progress),
    Verdict(Arc<Verdict>),
    Refused(Refused),
}

/// A request as it was sent, and the keys of it that nobody looks at.
struct Asked {
    request: ScoreRequest,
    unknown_fields: Option<HeaderValue>,
}

pub(crate) async fn score(
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let asked = caller.counted(read(query.as_deref(), &headers, body).await)?;
    let nobody = Teller::to_nobody();
    let verdict = caller.judge("POST /v1/score", &headers, asked.request, &nobody).await?;
    Ok(with_unknown(json(&*verdict), asked.unknown_fields))
}

pub(crate) async fn stream(
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let asked = caller.counted(read(query.as_deref(), &headers, body).await)?;
    let (events, mut told) = mpsc::channel(BACKLOG);
    // A task of its own: a caller that reads slowly must not hold up its own verdict.
    tokio::spawn(judge_telling(caller, headers, asked.request, events));
    let first = match told.recv().await {
        Some(Told::Refused(refused)) => return Err(refused),
        first => first,
    };
    let events = futures::stream::iter(first).chain(ReceiverStream::new(told)).map(as_event);
    let kept_alive = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = with_unknown(kept_alive.into_response(), asked.unknown_fields);
    // Or nginx collects the events of a whole buffer.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// A value as the body of an answer.
pub(crate) fn json(value: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], to_json(value)).into_response()
}

// === private ===

async fn read(query: Option<&str>, headers: &HeaderMap, body: Body) -> Result<Asked, Refused> {
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        return Err(Refused::invalid(
            query,
            "has no place in the query; settings go into the body",
        ));
    }
    let text = body::text(headers, body).await?;
    let (mut request, unread) = ScoreRequest::from_json(&text)?;
    headers::apply(headers, &mut request)?;
    Ok(Asked { request, unknown_fields: unknown::header(&unread) })
}

async fn judge_telling(
    caller: Caller,
    headers: HeaderMap,
    request: ScoreRequest,
    events: mpsc::Sender<Told>,
) {
    let (teller, watcher) = progress::channel();
    let judged = caller.judge("POST /v1/score/stream", &headers, request, &teller);
    let tell = |step| {
        if events.capacity() > 1 {
            drop(events.try_send(Told::Progress(step)));
        }
    };
    let judged = tokio::select! {
        () = events.closed() => return,
        judged = watcher.alongside(judged, tell) => judged,
    };
    let last = judged.map_or_else(Told::Refused, Told::Verdict);
    drop(events.send(last).await);
}

fn as_event(told: Told) -> Result<Event, Infallible> {
    let (name, data) = match told {
        Told::Progress(progress) => ("progress", to_json(&progress)),
        Told::Verdict(verdict) => ("verdict", to_json(&*verdict)),
        Told::Refused(refused) => ("error", refused.to_json()),
    };
    Ok(Event::default().event(name).data(data))
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("domain types are JSON")
}

fn with_unknown(mut response: Response, unknown_fields: Option<HeaderValue>) -> Response {
    if let Some(listed) = unknown_fields {
        response.headers_mut().insert(UNKNOWN_FIELDS, listed);
    }
    response
}
