//! One small set of error codes, and how they are sent.
//!
//! On the wire, an error is a status such as INVALID_ARGUMENT or ALREADY_EXISTS with google.rpc details: always
//! `ErrorInfo` (reason = the code's name, domain = `jury.v1`), `BadRequest` for a field, and `RetryInfo` for a delay.
//! [`JuryError`] survives the round trip.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of every `google.rpc.ErrorInfo` that Jury sends.
const ERROR_DOMAIN: &str = "jury.v1";

/// What kind of error, for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed; sending it again does not help.
    InvalidArgument,
    /// A different payload was sent under the same request id.
    RequestIdReused,
    /// Queues are full, or the budget cannot be met at this load; try again after the delay.
    Overloaded,
    /// The tenant has used up a quota; try again after the delay.
    OverQuota,
    /// No token, or an unknown one.
    Unauthenticated,
    /// A worker serves a different model, numerics class or method version than requested.
    WrongModel,
    /// The server is shutting down; try another, or again later.
    ShuttingDown,
    /// The other side cannot be reached.
    Unreachable,
    /// Something else answers there: another part of Jury, or a different service.
    WrongService,
    /// The call's own deadline ended first.
    DeadlineExceeded,
    /// The caller cancelled the call.
    Cancelled,
    /// An internal bug.
    Internal,
}

/// An error that crosses the wire unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JuryError {
    /// Which kind.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: String,
    /// Path of the malformed field.
    pub field: Option<String>,
    /// Time to wait before retrying.
    pub retry_delay: Option<Duration>,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::InvalidArgument,
        Self::RequestIdReused,
        Self::Overloaded,
        Self::OverQuota,
        Self::Unauthenticated,
        Self::WrongModel,
        Self::ShuttingDown,
        Self::Unreachable,
        Self::WrongService,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The code's name on the wire, as `google.rpc.ErrorInfo.reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::Overloaded => "OVERLOADED",
            Self::OverQuota => "OVER_QUOTA",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::WrongModel => "WRONG_MODEL",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Unreachable => "UNREACHABLE",
            Self::WrongService => "WRONG_SERVICE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The gRPC code that carries it.
    pub fn grpc(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::RequestIdReused => Code::AlreadyExists,
            Self::Overloaded | Self::OverQuota => Code::ResourceExhausted,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::WrongModel => Code::FailedPrecondition,
            Self::ShuttingDown | Self::Unreachable => Code::Unavailable,
            Self::WrongService => Code::Unimplemented,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Cancelled => Code::Cancelled,
            Self::Internal => Code::Internal,
        }
    }

    /// True if the same request may succeed a little later, or elsewhere.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Overloaded | Self::OverQuota | Self::ShuttingDown | Self::Unreachable)
    }

    /// True if a worker caused it, so that it may count against that worker's health. The caller's own mistakes never
    /// do; nor does [`Self::Unauthenticated`], which no worker reports about itself and which time does not fix.
    pub fn is_worker_fault(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::WrongService | Self::DeadlineExceeded | Self::Internal
        )
    }

    /// The code with that name, as [`Self::name`] returns it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The nearest code for a status from elsewhere. Jury's servers name their own bugs, so an internal error without
    /// such a name comes from another service, or was derived from another protocol's answer.
    pub fn from_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument,
            Code::AlreadyExists => Self::RequestIdReused,
            Code::ResourceExhausted => Self::Overloaded,
            Code::Unauthenticated | Code::PermissionDenied => Self::Unauthenticated,
            Code::FailedPrecondition => Self::WrongModel,
            Code::Unavailable => Self::Unreachable,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Cancelled => Self::Cancelled,
            Code::Unimplemented | Code::Unknown | Code::Internal => Self::WrongService,
            _ => Self::Internal,
        }
    }
}

// === impl JuryError ===

impl JuryError {
    /// An error with neither field nor delay.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, retry_delay: None }
    }

    /// A malformed field.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let (field, problem) = (field.into(), problem.into());
        Self {
            message: format!("{field}: {problem}"),
            field: Some(field),
            ..Self::new(ErrorCode::InvalidArgument, "")
        }
    }

    /// There is no room at the moment.
    pub fn overloaded(message: impl Into<String>, retry_delay: Duration) -> Self {
        Self { retry_delay: Some(retry_delay), ..Self::new(ErrorCode::Overloaded, message) }
    }
}

impl From<jury_grm::domain::RequestError> for JuryError {
    fn from(error: jury_grm::domain::RequestError) -> Self {
        Self::invalid(error.field, error.problem)
    }
}

impl From<JuryError> for Status {
    fn from(error: JuryError) -> Self {
        let mut details = ErrorDetails::new();
        let no_metadata = std::collections::HashMap::new();
        details.set_error_info(error.code.name(), ERROR_DOMAIN, no_metadata);
        if let Some(field) = &error.field {
            details.add_bad_request_violation(field, &error.message);
        }
        if let Some(delay) = error.retry_delay {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(error.code.grpc(), error.message, details)
    }
}

impl From<Status> for JuryError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let named = details
            .error_info()
            .filter(|info| info.domain == ERROR_DOMAIN)
            .and_then(|info| ErrorCode::from_name(&info.reason));
        let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
        let code = named.unwrap_or_else(|| local_code(&status));
        // For a failed connection the first cause says it all: the others are layers of the transport.
        let first =
            std::iter::successors(std::error::Error::source(&status), |e| e.source()).last();
        let cause = first.filter(|_| code == ErrorCode::Unreachable).map(ToString::to_string);
        // Some errors have only a code and no message.
        let said = || match status.message() {
            "" => status.code().description().to_owned(),
            said => said.to_owned(),
        };
        Self {
            code,
            message: cause.unwrap_or_else(said),
            field: violation.map(|violation| violation.field.clone()),
            retry_delay: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

/// The code of a status that no part of Jury sent. A status created on this side has a local source: tonic reports a
/// broken connection as Unknown, Internal or Cancelled, although the real meaning is that the other side cannot be
/// reached, unless tonic's own timer created it.
fn local_code(status: &Status) -> ErrorCode {
    let sources = std::iter::successors(std::error::Error::source(status), |e| e.source());
    let mut is_local = false;
    for source in sources {
        if source.is::<tonic::TimeoutExpired>() {
            return ErrorCode::DeadlineExceeded;
        }
        is_local = true;
    }
    match status.code() {
        Code::Unknown | Code::Internal | Code::Cancelled if is_local => ErrorCode::Unreachable,
        code => ErrorCode::from_grpc(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in ErrorCode::ALL {
            let sent = JuryError::new(code, "what happened");
            assert_eq!(JuryError::from(Status::from(sent.clone())), sent);
        }
    }

    #[test]
    fn field_and_delay_survive_the_wire() {
        let invalid = JuryError::invalid("k", "must be between 1 and 256, is 0");
        assert_eq!(JuryError::from(Status::from(invalid.clone())), invalid);
        let overloaded = JuryError::overloaded("queue is full", Duration::from_millis(250));
        assert_eq!(JuryError::from(Status::from(overloaded.clone())), overloaded);
    }

    #[test]
    fn a_foreign_status_keeps_its_meaning() {
        assert_eq!(JuryError::from(Status::unavailable("gone")).code, ErrorCode::Unreachable);
        for other in [Status::unknown("?"), Status::unimplemented(""), Status::internal("")] {
            let error = JuryError::from(other);
            assert_eq!(error.code, ErrorCode::WrongService);
            assert!(!error.message.is_empty() && !error.code.is_transient());
        }
        assert_eq!(JuryError::from(Status::data_loss("?")).code, ErrorCode::Internal);
        let denied = JuryError::from(Status::permission_denied("by a proxy"));
        assert_eq!(denied.code, ErrorCode::Unauthenticated);
    }

    #[test]
    fn a_connection_that_broke_is_the_other_side_unreachable() {
        let broke = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(
            JuryError::from(Status::from_error(Box::new(broke))).code,
            ErrorCode::Unreachable
        );
    }

    #[test]
    fn a_callers_mistake_never_counts_against_a_worker() {
        for code in ErrorCode::ALL.into_iter().filter(|code| code.is_worker_fault()) {
            assert!(!matches!(code, ErrorCode::InvalidArgument | ErrorCode::WrongModel));
        }
    }
}
