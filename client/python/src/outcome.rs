//! What crosses to Python: a request on its way in, JSON or the parts of an error on its way out.

use jury_client::ClientError;
use jury_grm::domain::{JsonError, ScoreRequest};
use jury_proto::ErrorCode;
use pyo3::prelude::*;

/// The parts of an error: code, message, field, seconds to wait, attempts.
pub type Fault = (&'static str, String, Option<String>, Option<f64>, u32);

/// JSON, or why there is none: one of the two is there.
pub type Outcome = (Option<String>, Option<Fault>);

/// A request that was read and found well-formed.
#[pyclass(frozen)]
pub struct Request(pub(crate) ScoreRequest);

/// Reads a request: with it the paths of the keys that nobody looks at, or why it is malformed.
#[pyfunction]
pub fn parse(json: &str) -> (Option<Request>, Vec<String>, Option<Fault>) {
    match ScoreRequest::from_json(json) {
        Ok((request, unknown_keys)) => (Some(Request(request)), unknown_keys, None),
        Err(error) => {
            let field = match &error {
                JsonError::Field { path, .. } => Some(path.clone()),
                _ => None,
            };
            (None, Vec::new(), Some(invalid(error.to_string(), field)))
        }
    }
}

/// The error of an argument that nothing was sent for.
pub fn invalid(message: String, field: Option<String>) -> Fault {
    (ErrorCode::InvalidArgument.name(), message, field, None, 0)
}

/// The outcome of a call that ended with `answer`.
pub fn of<T: serde::Serialize>(answer: Result<T, ClientError>) -> Outcome {
    match answer {
        Ok(answer) => {
            let json = serde_json::to_string(&answer);
            (Some(json.expect("what a client answers is plain data")), None)
        }
        Err(error) => (None, Some(fault(error))),
    }
}

/// The outcome of a call that was cancelled, here or because its process ends.
pub fn cancelled() -> Outcome {
    let message = "the call was cancelled".to_owned();
    (None, Some((ErrorCode::Cancelled.name(), message, None, None, 0)))
}

fn fault(error: ClientError) -> Fault {
    let retry_after = error.retry_delay.map(|delay| delay.as_secs_f64());
    (error.code.name(), error.message, error.field, retry_after, error.attempts)
}
