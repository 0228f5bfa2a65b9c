//! Errors of single items in a stream, with the same content as a status.

use std::time::Duration;

use tonic::Code;

use crate::error::{ErrorCode, JuryError};
use crate::v1;

impl From<JuryError> for v1::ScoreError {
    fn from(error: JuryError) -> Self {
        let milliseconds = |delay: Duration| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self {
            grpc_code: error.code.grpc() as i32,
            reason: error.code.name().to_owned(),
            message: error.message,
            field: error.field.unwrap_or_default(),
            retry_delay_ms: error.retry_delay.map(milliseconds),
        }
    }
}

impl From<v1::ScoreError> for JuryError {
    /// If this version does not know the name, the gRPC code decides.
    fn from(error: v1::ScoreError) -> Self {
        let by_code = || ErrorCode::from_grpc(Code::from_i32(error.grpc_code));
        Self {
            code: ErrorCode::from_name(&error.reason).unwrap_or_else(by_code),
            message: error.message,
            field: Some(error.field).filter(|field| !field.is_empty()),
            retry_delay: error.retry_delay_ms.map(Duration::from_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_stream() {
        for error in [
            JuryError::invalid("k", "must be between 1 and 256, is 0"),
            JuryError::overloaded("queue is full", Duration::from_millis(250)),
            JuryError::new(ErrorCode::RequestIdReused, "used before"),
        ] {
            assert_eq!(JuryError::from(v1::ScoreError::from(error.clone())), error);
        }
    }

    #[test]
    fn an_unknown_name_is_read_by_its_code() {
        let wire = v1::ScoreError { grpc_code: 14, ..v1::ScoreError::default() };
        assert_eq!(JuryError::from(wire).code, ErrorCode::Unreachable);
    }
}
