//! What went wrong with a call.

use std::time::Duration;

use jury_grm::domain::RequestError;
use jury_proto::{ErrorCode, JuryError};
use tonic::Status;

/// A call that gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// Which kind, for machines.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: String,
    /// Path of the malformed field; only with [`ErrorCode::InvalidArgument`].
    pub field: Option<String>,
    /// What the service asked to wait before the next try; only with [`ErrorCode::Overloaded`] and
    /// [`ErrorCode::OverQuota`].
    pub retry_delay: Option<Duration>,
    /// Attempts made. 0 when the request never left, because it is malformed.
    pub attempts: u32,
}

// === impl ClientError ===

impl ClientError {
    pub(crate) fn after(attempts: u32, error: JuryError) -> Self {
        Self {
            code: error.code,
            message: error.message,
            field: error.field,
            retry_delay: error.retry_delay,
            attempts,
        }
    }

    /// True when the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        self.code.is_transient() || self.code == ErrorCode::DeadlineExceeded
    }
}

impl From<RequestError> for ClientError {
    fn from(error: RequestError) -> Self {
        Self::after(0, error.into())
    }
}

/// The error of a call whose deadline passed without an answer.
pub(crate) fn deadline_exceeded(waited: Duration) -> JuryError {
    let seconds = waited.as_secs_f64();
    let message = format!("no answer within {seconds:.1} s, the budget and the grace after it");
    JuryError::new(ErrorCode::DeadlineExceeded, message)
}

/// A status from the wire, with the causes that tonic keeps apart from its message. Of a
/// connection that failed the first cause says it all: the others are layers of the transport.
pub(crate) fn from_status(status: Status) -> JuryError {
    let mut causes = causes(&status);
    let mut error = JuryError::from(status);
    if error.code == ErrorCode::Unreachable
        && let Some(first_cause) = causes.pop()
    {
        error.message = first_cause;
        return error;
    }
    for cause in causes {
        if !error.message.contains(&cause) {
            error.message = format!("{}: {cause}", error.message);
        }
    }
    error
}

fn causes(status: &Status) -> Vec<String> {
    let first = std::error::Error::source(status);
    std::iter::successors(first, |error| error.source()).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_failed_is_told_by_its_first_cause_alone() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let said = refused.to_string();
        let layered = std::io::Error::other(refused);
        let error = from_status(Status::from_error(Box::new(layered)));
        assert_eq!((error.code, error.message), (ErrorCode::Unreachable, said));
    }

    #[test]
    fn what_the_service_says_stays_as_it_is() {
        let said = JuryError::invalid("settings.k", "must be between 1 and 256, is 0");
        assert_eq!(from_status(said.clone().into()), said);
    }
}
