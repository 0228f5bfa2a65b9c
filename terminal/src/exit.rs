//! Exit codes of the process.

use std::process::ExitCode;

use jury_client::ClientError;
use jury_grm::domain::{ReasonCode, Status, Verdict};
use jury_proto::ErrorCode;

/// How a command ended, as a number of sysexits.h where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done. A PARTIAL verdict counts: it has rewards, and says what is missing.
    Done,
    /// Judged, but UNSCORED for a reason that a retry would not fix; the verdict says why.
    Unscored,
    /// EX_USAGE: the command line or the request is malformed.
    Usage,
    /// EX_DATAERR: the content of a file is invalid: a line of a batch (the others were judged), or a model.
    BadData,
    /// EX_NOINPUT: an input file does not exist or cannot be read.
    NoInput,
    /// EX_UNAVAILABLE: no worker, no server at the endpoint, or the listen address is in use.
    Unavailable,
    /// EX_SOFTWARE: a bug in Jury.
    Internal,
    /// EX_CANTCREAT or EX_IOERR: the output cannot be written.
    CannotWrite,
    /// EX_TEMPFAIL: overloaded, over quota, or the budget was too short; a retry may succeed.
    TryAgain,
    /// EX_NOPERM: the token is missing or unknown.
    NoPermission,
    /// Interrupted by Ctrl-C; finished results are written.
    Interrupted,
}

/// The part of `jury --help` about exit codes.
pub const TABLE: &str = "\
Exit codes:
  0    success (a PARTIAL verdict has rewards and counts as success)
  3    UNSCORED, and a retry will not help: the prompt is too long, or too few scores are readable
  64   invalid command line or request; the message names the field and the limit
  65   bad data: some lines of a batch are not valid items (the others were judged), or a
       model file is invalid
  66   an input file does not exist or cannot be read
  69   unavailable: no server at the endpoint, a listen address in use, UNSCORED for lack of
       a worker or its model, or a problem that `jury doctor` reports as broken
  70   internal error; please report it
  74   the output cannot be written
  75   overloaded, over quota, or UNSCORED because the budget was too short: try again
  77   missing or unknown token
  130  interrupted: finished verdicts of a batch are written (continue with --resume), and
       finished rounds of a benchmark are printed";

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failed {
    /// The exit code.
    pub exit: Exit,
    /// The error that is printed.
    pub error: anyhow::Error,
}

// === impl Exit ===

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unscored => 3,
            Self::Usage => 64,
            Self::BadData => 65,
            Self::NoInput => 66,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::CannotWrite => 74,
            Self::TryAgain => 75,
            Self::NoPermission => 77,
            Self::Interrupted => 130,
        }
    }

    /// The exit code for `verdict`.
    pub fn of_verdict(verdict: &Verdict) -> Self {
        if verdict.status != Status::Unscored {
            return Self::Done;
        }
        let codes: Vec<ReasonCode> =
            verdict.reasons.iter().flatten().map(|reason| reason.code).collect();
        let unavailable = |code: &ReasonCode| {
            matches!(
                code,
                ReasonCode::NoWorker
                    | ReasonCode::UnknownModel
                    | ReasonCode::WorkerFailed
                    | ReasonCode::TooLarge
                    | ReasonCode::Rejected
            )
        };
        if codes.iter().any(unavailable) {
            Self::Unavailable
        } else if codes.contains(&ReasonCode::Budget) {
            Self::TryAgain
        } else {
            Self::Unscored
        }
    }

    /// The exit code for a call that failed with `code`.
    pub fn of_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidArgument | ErrorCode::RequestIdReused => Self::Usage,
            ErrorCode::Overloaded | ErrorCode::OverQuota | ErrorCode::DeadlineExceeded => {
                Self::TryAgain
            }
            ErrorCode::Unauthenticated => Self::NoPermission,
            ErrorCode::Unreachable
            | ErrorCode::WrongService
            | ErrorCode::ShuttingDown
            | ErrorCode::WrongModel => Self::Unavailable,
            ErrorCode::Cancelled => Self::Interrupted,
            ErrorCode::Internal => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

// === impl Failed ===

impl Failed {
    /// Exits with `exit`, after printing `error` with its causes.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// The error and its causes in one line. A cause that the text before it already ends with is not repeated.
    pub fn message(&self) -> String {
        let causes = self.error.chain().map(ToString::to_string);
        let join = |said: String, cause: String| match said.ends_with(&cause) {
            true => said,
            false => format!("{said}: {cause}"),
        };
        causes.reduce(join).unwrap_or_default()
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self::new(Exit::of_code(error.code), error)
    }
}

/// Attaches an exit code to an error.
pub trait OrExit<T> {
    /// Turns an error into a [`Failed`] with this exit code.
    fn or_exit(self, exit: Exit) -> Result<T, Failed>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failed> {
        self.map_err(|error| Failed::new(exit, error))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read nope: {source}")]
    struct Unreadable {
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let missing = || Unreadable { source: std::io::Error::other("no such file") };
        let failed =
            Err::<(), _>(missing()).context("--tls-ca").or_exit(Exit::NoInput).unwrap_err();
        assert_eq!(failed.message(), "--tls-ca: cannot read nope: no such file");
        let plain = anyhow::anyhow!("no such file").context("nope");
        assert_eq!(Failed::new(Exit::NoInput, plain).message(), "nope: no such file");
    }

    #[test]
    fn every_exit_code_stands_in_the_table() {
        for exit in [
            Exit::Done,
            Exit::Unscored,
            Exit::Usage,
            Exit::BadData,
            Exit::NoInput,
            Exit::Unavailable,
            Exit::Internal,
            Exit::CannotWrite,
            Exit::TryAgain,
            Exit::NoPermission,
            Exit::Interrupted,
        ] {
            let row = format!("\n  {:<5}", exit.code());
            assert!(TABLE.contains(&row), "{exit:?}");
        }
    }

    #[test]
    fn only_what_may_pass_asks_to_try_again() {
        for code in ErrorCode::ALL {
            if Exit::of_code(code) == Exit::TryAgain {
                assert!(code.is_transient() || code == ErrorCode::DeadlineExceeded);
            }
        }
    }
}
