//! What the process tells the shell when it ends.

use std::process::ExitCode;

use jury_client::ClientError;
use jury_grm::domain::{ReasonCode, Status, Verdict};
use jury_proto::ErrorCode;

/// How a command ended, as a number of sysexits.h where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done. A PARTIAL verdict counts: it has rewards, and says what is missing.
    Done,
    /// Judged, but without a reward that waiting could bring: the verdict says why.
    Unscored,
    /// EX_USAGE: the command line or the request is malformed.
    Usage,
    /// EX_DATAERR: a file's content is wrong, be it a line of a batch (the others ran) or a model.
    BadData,
    /// EX_NOINPUT: a file to read is not there.
    NoInput,
    /// EX_UNAVAILABLE: no worker, nobody at the endpoint, or the address to listen on is taken.
    Unavailable,
    /// EX_SOFTWARE: a bug of ours.
    Internal,
    /// EX_CANTCREAT or EX_IOERR: the output cannot be written.
    CannotWrite,
    /// EX_TEMPFAIL: overloaded, over quota, or the budget was too short; the same again may work.
    TryAgain,
    /// EX_NOPERM: no token, or one that the service does not know.
    NoPermission,
    /// Ended by Ctrl-C; what was finished is written.
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
    /// What the shell is told.
    pub exit: Exit,
    /// What the person is told.
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

    /// How a command ends that was given `verdict`.
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

    /// How a command ends whose call failed with `code`.
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
    /// Ends with `exit`, and says `error` with its causes.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// The error and its causes in one line. A cause that the words before it end with is not said again.
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

/// Gives an error the exit code that its place in the code knows.
pub trait OrExit<T> {
    /// Ends with `exit` unless this is fine.
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
