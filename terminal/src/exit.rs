//! What the process reports to the shell when it ends.

use std::process::ExitCode;

use jury_client::ClientError;
use jury_grm::domain::{ReasonCode, Status, Verdict};
use jury_proto::ErrorCode;

/// How a command ended: a code from sysexits.h if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done. Includes a PARTIAL verdict: it has rewards, and says what is missing.
    Done,
    /// Judged, but without a reward that waiting could bring; the verdict says why.
    Unscored,
    /// EX_USAGE: the command line or the request is malformed.
    Usage,
    /// EX_DATAERR: a file's content is wrong, either a line of a batch (the others ran) or a model.
    BadData,
    /// EX_NOINPUT: an input file is missing.
    NoInput,
    /// EX_UNAVAILABLE: no worker, nothing listening at the endpoint, or the address to listen on is taken.
    Unavailable,
    /// EX_SOFTWARE: an internal bug.
    Internal,
    /// EX_CANTCREAT or EX_IOERR: the output cannot be written.
    CannotWrite,
    /// EX_TEMPFAIL: overloaded, over quota, or the budget was too short; the same command may work later.
    TryAgain,
    /// EX_NOPERM: no token, or an unknown one.
    NoPermission,
    /// Stopped by Ctrl-C; finished results have been written.
    Interrupted,
}

/// The part of `jury --help` about exit codes.
pub const TABLE: &str = "\
Exit codes:
  0    done (a PARTIAL verdict has rewards, and counts as done)
  3    UNSCORED for good: the prompt is too long, or too few scores were readable
  64   the command line or the request is malformed; the message names the field and the limit
  65   bad data: lines of a batch that are no items (the others ran), or a model file that is none
  66   a file to read is not there
  69   unavailable: nobody at the endpoint, an address in use, UNSCORED for want of a worker or
       its model, or what doctor calls broken
  70   internal error, please report it
  74   the output cannot be written
  75   overloaded, over quota, or UNSCORED because the budget was too short: try again
  77   no token, or one that the service does not know
  130  interrupted; finished verdicts of a batch are written, --resume goes on; finished rounds of a
       bench are printed";

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failed {
    /// The exit code for the shell.
    pub exit: Exit,
    /// The message for the user.
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

    /// The exit code of a command that received `verdict`.
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

    /// The exit code of a command whose call failed with `code`.
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
    /// Exits with `exit`, and prints `error` with its causes.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// The error and its causes on one line. A cause is omitted if the text before it already ends with it.
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

/// Gives an error its exit code at the place where the code is known.
pub trait OrExit<T> {
    /// Turns an error into a failure with `exit`.
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
