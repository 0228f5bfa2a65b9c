//! A worker's health: one state, and every transition in one place.
//!
//! ```text
//!            fits                   call failed, stalls
//! Unknown ---------> Ready --------------------------> Suspect
//!    |                 ^                                  |  probe failed
//!    | probe failed    +--------- fits -------------------+-----------> Probing
//!    v                                                                    |
//! Probing <---------------------------------------------------------------+
//!
//! From anywhere: `Drains` makes it Draining, `Misfits` makes it Refused, `Fits` makes it Ready.
//! ```
//!
//! Only a ready worker gets samples. All other workers except refused ones are probed at growing intervals. A refused
//! worker answers, so the regular checks notice when it changes.

use jury_proto::v1::WorkerState;

/// The coordinator's view of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Registered, but not yet asked what it serves.
    Unknown,
    /// It accepts samples.
    Ready,
    /// Its model makes no progress, or a call to it has just failed.
    Suspect(String),
    /// It does not answer.
    Probing(String),
    /// It is shutting down and finishes its running samples.
    Draining,
    /// It answers, but may not be used.
    Refused(String),
}

/// Something learned about a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// It reported what it serves, and may be used.
    Fits,
    /// It reported what it serves, and may not be used.
    Misfits(String),
    /// It answers, but its model makes no progress.
    Stalls(String),
    /// It reports that it is shutting down.
    Drains,
    /// A call to it failed, and the worker is to blame.
    CallFailed(String),
    /// It did not answer when asked what it serves.
    ProbeFailed(String),
}

// === impl Health ===

impl Health {
    /// The state after one more piece of evidence.
    #[must_use]
    pub fn after(&self, evidence: Evidence) -> Self {
        match (self, evidence) {
            (_, Evidence::Fits) => Self::Ready,
            (_, Evidence::Misfits(why)) => Self::Refused(why),
            (_, Evidence::Stalls(why)) => Self::Suspect(why),
            (_, Evidence::Drains) => Self::Draining,
            (_, Evidence::ProbeFailed(why)) => Self::Probing(why),
            (Self::Ready | Self::Unknown, Evidence::CallFailed(why)) => Self::Suspect(why),
            // The call began while the worker was ready; newer information takes precedence.
            (known, Evidence::CallFailed(_)) => known.clone(),
        }
    }

    /// True when samples may be sent to it.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// True if it must be probed repeatedly until it answers.
    pub fn needs_probes(&self) -> bool {
        !matches!(self, Self::Ready | Self::Refused(_))
    }

    /// The state's name in the protocol.
    pub fn state(&self) -> WorkerState {
        match self {
            Self::Unknown => WorkerState::Unknown,
            Self::Ready => WorkerState::Ready,
            Self::Suspect(_) => WorkerState::Suspect,
            Self::Probing(_) => WorkerState::Probing,
            Self::Draining => WorkerState::Draining,
            Self::Refused(_) => WorkerState::Refused,
        }
    }

    /// Why it is not ready, for display; empty if it is ready.
    pub fn detail(&self) -> &str {
        match self {
            Self::Ready => "",
            Self::Unknown => "it has not yet told what it serves",
            Self::Draining => "it goes down and finishes what it has",
            Self::Suspect(why) | Self::Probing(why) | Self::Refused(why) => why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> [Health; 6] {
        let why = || "why".to_owned();
        [
            Health::Unknown,
            Health::Ready,
            Health::Suspect(why()),
            Health::Probing(why()),
            Health::Draining,
            Health::Refused(why()),
        ]
    }

    #[test]
    fn whoever_answers_and_fits_is_ready_whatever_was_before() {
        for state in states() {
            assert!(state.after(Evidence::Fits).is_ready(), "{state:?}");
        }
    }

    #[test]
    fn a_failed_call_tells_something_new_of_a_ready_worker_only() {
        for state in states() {
            let next = state.after(Evidence::CallFailed("broke".into()));
            match state {
                Health::Ready | Health::Unknown => {
                    assert_eq!(next, Health::Suspect("broke".into()));
                }
                _ => assert_eq!(next, state),
            }
        }
    }

    #[test]
    fn only_a_ready_worker_gets_samples_and_each_other_says_why_not() {
        for state in states() {
            assert_eq!(state.is_ready(), state.detail().is_empty(), "{state:?}");
            assert!(!(state.is_ready() && state.needs_probes()));
        }
    }

    #[test]
    fn a_refused_worker_answers_and_is_not_probed() {
        assert!(!Health::Unknown.after(Evidence::Misfits("old".into())).needs_probes());
    }
}
