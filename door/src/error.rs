//! Refusals: one JSON shape, and the HTTP status that clients act on.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jury_grm::domain::{JsonError, Reason, ReasonCode};
use jury_proto::{ErrorCode, JuryError};
use serde::Serialize;

/// A call without an answer of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Refused {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    /// Which kind, for machines.
    pub(crate) code: &'static str,
    /// A sentence for a person, with the limit and the way out.
    pub(crate) message: String,
    /// Path of the field, or name of the parameter or header, that is wrong.
    pub(crate) field: Option<String>,
    /// Time to wait before trying again.
    pub(crate) retry_delay_ms: Option<u64>,
    /// Why there is no reward; with the code `UNSCORED` alone.
    pub(crate) reason: Option<ReasonCode>,
}

/// A judge that lacked time or a worker may have them after this long.
const UNSCORED_RETRY: Duration = Duration::from_secs(1);

// === impl Refused ===

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, code, message, field: None, retry_delay_ms: None, reason: None }
    }

    /// A field, parameter or header that is wrong.
    pub(crate) fn invalid(field: impl Into<String>, problem: &str) -> Self {
        let field = field.into();
        let message = format!("{field}: {problem}");
        Self {
            field: Some(field),
            ..Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidArgument.name(), message)
        }
    }

    /// No reward, told as an error to a caller who knows no other way to hear it.
    pub(crate) fn unscored(reason: &Reason) -> Self {
        let may_pass = reason.code.may_pass();
        let status = match may_pass {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self {
            retry_delay_ms: may_pass.then(|| milliseconds(UNSCORED_RETRY)),
            reason: Some(reason.code),
            ..Self::new(status, "UNSCORED", &*reason.detail)
        }
    }

    /// The JSON of it.
    pub(crate) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Enveloped<'a> {
            error: &'a Refused,
        }
        serde_json::to_string(&Enveloped { error: self }).expect("texts and numbers are JSON")
    }
}

impl From<JuryError> for Refused {
    fn from(error: JuryError) -> Self {
        let status = match error.code {
            ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
            ErrorCode::RequestIdReused => StatusCode::CONFLICT,
            ErrorCode::Overloaded | ErrorCode::OverQuota => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorCode::WrongModel
            | ErrorCode::ShuttingDown
            | ErrorCode::Unreachable
            | ErrorCode::WrongService
            | ErrorCode::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            field: error.field,
            retry_delay_ms: error.retry_delay.map(milliseconds),
            ..Self::new(status, error.code.name(), error.message)
        }
    }
}

impl From<JsonError> for Refused {
    fn from(error: JsonError) -> Self {
        let message = error.to_string();
        let field = match error {
            JsonError::Field { path, .. } => Some(path),
            JsonError::NotJson { .. }
            | JsonError::MoreFollows { .. }
            | JsonError::NotAnObject { .. } => None,
        };
        let code = ErrorCode::InvalidArgument.name();
        Self { field, ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, json, self.to_json()).into_response();
        if let Some(delay_ms) = self.retry_delay_ms {
            // In whole seconds, and never before the delay.
            let seconds = HeaderValue::from(delay_ms.div_ceil(1000).max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // What RFC 7235 wants with it.
            let scheme = HeaderValue::from_static("Bearer realm=\"jury\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

pub(crate) async fn no_such_path(uri: Uri) -> Refused {
    let message = format!("no path {:?} here; GET /openapi.json lists all", uri.path());
    Refused::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
}

pub(crate) async fn method_not_allowed(uri: Uri) -> Refused {
    let message = format!("{} takes another method; see GET /openapi.json", uri.path());
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}

pub(crate) fn not_under_this_name(host: &str) -> Refused {
    let message = format!(
        "a loopback address without tenants does not answer to the host name {host:?}, which could be a web page's: \
         call 127.0.0.1 or localhost, have the proxy send one of them as Host, or use --tenants"
    );
    Refused {
        field: Some("Host".to_owned()),
        ..Refused::new(StatusCode::MISDIRECTED_REQUEST, "MISDIRECTED_REQUEST", message)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
