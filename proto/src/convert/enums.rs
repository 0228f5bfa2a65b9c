//! Enumerations: closed domain enums and open wire enums.

use jury_grm::domain;

use crate::error::JuryError;
use crate::v1;

/// Generates both directions for an enumeration with a defined reading of unknown values.
macro_rules! lenient_enum {
    ($domain:ty, $wire:ty, otherwise $fallback:ident, { $($variant:ident <=> $pb:ident),+ $(,)? }) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$variant => Self::$pb),+ }
            }
        }
        impl From<$wire> for $domain {
            fn from(value: $wire) -> Self {
                match value {
                    $(<$wire>::$pb => Self::$variant,)+
                    <$wire>::Unspecified => Self::$fallback,
                }
            }
        }
    };
}

lenient_enum!(domain::Readout, v1::Readout, otherwise Expected, {
    Free <=> Free, Sampled <=> Sampled, Expected <=> Expected,
});
lenient_enum!(domain::FailureKind, v1::FailureKind, otherwise Worker, {
    NoBox <=> NoBox, WrongCount <=> WrongCount, OutOfRange <=> OutOfRange,
    LowReadoutMass <=> LowReadoutMass, TimedOut <=> TimedOut, Worker <=> Worker,
    TooLong <=> TooLong, TooLarge <=> TooLarge, NotNeeded <=> NotNeeded, Rejected <=> Rejected,
});
lenient_enum!(domain::Finish, v1::Finish, otherwise None, {
    Box <=> Box, EndOfText <=> EndOfText, Limit <=> Limit, None <=> None,
});
lenient_enum!(domain::Reproducible, v1::Reproducible, otherwise None, {
    Bitwise <=> Bitwise, Seeded <=> Seeded, None <=> None,
});
lenient_enum!(domain::ReasonCode, v1::ReasonCode, otherwise WorkerFailed, {
    TooLong <=> TooLong, TooLarge <=> TooLarge, NoWorker <=> NoWorker, UnknownModel <=> UnknownModel, Budget <=> Budget,
    ParseFailed <=> ParseFailed, WorkerFailed <=> WorkerFailed, NotShown <=> NotShown, Rejected <=> Rejected,
});
lenient_enum!(domain::Status, v1::VerdictStatus, otherwise Unscored, {
    Ok <=> Ok, Partial <=> Partial, Unscored <=> Unscored,
});
lenient_enum!(domain::Phase, v1::ScorePhase, otherwise Waiting, {
    Waiting <=> Waiting, Prefill <=> Prefill, Drawing <=> Drawing,
});
lenient_enum!(domain::StoppedBy, v1::StoppedBy, otherwise Refused, {
    Complete <=> Complete, Budget <=> Budget, Refused <=> Refused, Lossless <=> Lossless, Confidence <=> Confidence,
    Width <=> Width,
});

impl From<domain::Issue> for v1::Issue {
    fn from(issue: domain::Issue) -> Self {
        match issue {
            domain::Issue::BoxOutsideScores => Self::BoxOutsideScores,
            domain::Issue::BareBrackets => Self::BareBrackets,
            domain::Issue::SeveralBoxes => Self::SeveralBoxes,
            domain::Issue::NoAnalysisHeading => Self::NoAnalysisHeading,
            domain::Issue::Fraction => Self::Fraction,
            domain::Issue::NeutralisedSpecials => Self::NeutralisedSpecials,
        }
    }
}

/// An issue that this version does not know is dropped, because it was never fatal.
pub(super) fn issue_from_pb(issue: v1::Issue) -> Option<domain::Issue> {
    match issue {
        v1::Issue::BoxOutsideScores => Some(domain::Issue::BoxOutsideScores),
        v1::Issue::BareBrackets => Some(domain::Issue::BareBrackets),
        v1::Issue::SeveralBoxes => Some(domain::Issue::SeveralBoxes),
        v1::Issue::NoAnalysisHeading => Some(domain::Issue::NoAnalysisHeading),
        v1::Issue::Fraction => Some(domain::Issue::Fraction),
        v1::Issue::NeutralisedSpecials => Some(domain::Issue::NeutralisedSpecials),
        v1::Issue::Unspecified => None,
    }
}

impl From<domain::Role> for v1::Role {
    fn from(role: domain::Role) -> Self {
        match role {
            domain::Role::System => Self::System,
            domain::Role::User => Self::User,
            domain::Role::Assistant => Self::Assistant,
            domain::Role::Tool => Self::Tool,
            domain::Role::Developer => Self::Developer,
        }
    }
}

impl TryFrom<v1::Role> for domain::Role {
    type Error = JuryError;

    /// A turn without a role is rejected: guessing would change the prompt.
    fn try_from(role: v1::Role) -> Result<Self, JuryError> {
        match role {
            v1::Role::System => Ok(Self::System),
            v1::Role::User => Ok(Self::User),
            v1::Role::Assistant => Ok(Self::Assistant),
            v1::Role::Tool => Ok(Self::Tool),
            v1::Role::Developer => Ok(Self::Developer),
            v1::Role::Unspecified => Err(JuryError::invalid(
                "role",
                "must be system, user, assistant, tool or developer",
            )),
        }
    }
}
