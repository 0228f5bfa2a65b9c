//! A call's body: limits on its size, on the time it takes to arrive, and on the number of JSON values.

mod skip;
mod values;

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use futures::TryStreamExt;
use jury_fabric::transport::MAX_MESSAGE_BYTES;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::{Map, Value};
use tokio::time::timeout;

pub(crate) use self::skip::without;
use self::values::Values;
use crate::error::Refused;

/// What gRPC takes, too: an item of the largest size with most of its characters escaped.
const MAX_BODY_BYTES: usize = MAX_MESSAGE_BYTES;
/// A caller that sends its body more slowly holds memory for nothing.
const READ_TIME: Duration = Duration::from_secs(30);

/// Reads a body that says it is JSON, and checks that a tree of it is bounded.
pub(crate) async fn text(headers: &HeaderMap, body: Body) -> Result<String, Refused> {
    let text = long_text(headers, body).await?;
    bounded(&text)?;
    Ok(text)
}

/// Checks that a tree of this text is bounded.
pub(crate) fn bounded(text: &str) -> Result<(), Refused> {
    Values::of(text).too_many().map_or(Ok(()), |problem| Err(too_large(problem)))
}

/// Reads a body that says it is JSON. A tree of it may take gigabytes: see [`bounded`].
pub(crate) async fn long_text(headers: &HeaderMap, body: Body) -> Result<String, Refused> {
    if !is_json(headers) {
        let message = "Content-Type: must be application/json";
        return Err(Refused {
            field: Some("Content-Type".to_owned()),
            ..Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
        });
    }
    if let Some(coding) =
        headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity")
    {
        let message =
            format!("Content-Encoding: {coding:?} is not supported; send the body uncompressed");
        return Err(Refused {
            field: Some("Content-Encoding".to_owned()),
            ..Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
        });
    }
    let bytes = timeout(READ_TIME, bytes(body)).await.map_err(|_elapsed| {
        let message = format!("the body did not arrive within {} s", READ_TIME.as_secs());
        Refused::new(StatusCode::REQUEST_TIMEOUT, "BODY_TOO_SLOW", message)
    })??;
    String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to() + 1;
        broken(format!("the body is not UTF-8, from byte {position} on"))
    })
}

/// Checks that a text is JSON, without building a tree.
pub(crate) fn is_valid(text: &str) -> Result<(), Refused> {
    let read = serde_json::from_str::<IgnoredAny>(text);
    read.map(drop).map_err(|error| broken(format!("the body is not JSON: {error}")))
}

/// Parses a JSON object whose shape a trainer defines. A duplicate key is an error, because the second would hide the first.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, Refused> {
    let Object { fields, twice } =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Data => broken("the body is JSON, but not an object".to_owned()),
            _ => broken(format!("the body is not JSON: {error}")),
        })?;
    match twice {
        Some(key) => Err(Refused::invalid(key, "is given twice")),
        None => Ok(fields),
    }
}

/// An object, and a key that occurs twice in it.
struct Object {
    fields: Map<String, Value>,
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
        let (mut fields, mut twice) = (Map::new(), None);
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            if fields.contains_key(&key) {
                twice = Some(key);
            } else {
                fields.insert(key, value);
            }
        }
        Ok(Object { fields, twice })
    }
}

async fn bytes(body: Body) -> Result<Vec<u8>, Refused> {
    let mut chunks = body.into_data_stream();
    let mut read = Vec::new();
    let interrupted = |error| broken(format!("the body broke off: {error}"));
    while let Some(chunk) = chunks.try_next().await.map_err(interrupted)? {
        if read.len() + chunk.len() > MAX_BODY_BYTES {
            let message = format!("the body is larger than {MAX_BODY_BYTES} bytes");
            return Err(too_large(message));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn too_large(message: String) -> Refused {
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
}

fn broken(message: String) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
}
