//! What a request, a sample and a verdict are. The serde form of these types is Jury's JSON.

mod item;
mod json;
mod progress;
mod reply;
mod request;
mod sample;
mod settings;
mod verdict;
mod voting;

pub use item::{Item, Query, Role, Turn};
pub use json::{JsonError, KeyHint, json_line};
pub use progress::{Phase, Progress};
pub use request::{RequestError, ScoreRequest, limits};
pub use sample::{Failure, FailureKind, Finish, Issue, Outcome, Sample, SampleSpec, Scores};
pub use settings::{Readout, Scale, Settings};
pub use verdict::{
    Counts, Provenance, Reason, ReasonCode, Reproducible, RunReport, Status, StoppedBy, Usage,
    Verdict,
};
pub use voting::{StopRule, VoteRule, Voting};
