//! Messages between coordinator and Meta RM.

use std::collections::BTreeSet;

use jury_grm::domain::Failure;
use jury_grm::prompt::Message;

use super::required;
use crate::error::JuryError;
use crate::v1;

/// Trajectories of one prompt, and what is required of the worker that ranks them.
#[derive(Debug, Clone, PartialEq)]
pub struct RankRequest {
    /// Digest of the Meta RM, hex.
    pub model_digest: String,
    /// Numerics class that must score them.
    pub numerics: String,
    /// The prompt that the samples were drawn from.
    pub messages: Vec<Message>,
    /// At least one, with distinct indices.
    pub trajectories: Vec<Trajectory>,
    /// The request's id, for logs.
    pub request_id: String,
    /// Milliseconds until nobody is waiting for the scores any more; `None`: unknown.
    pub remaining_ms: Option<u64>,
    /// Cached state of the prompt is reused only by calls with the same salt.
    pub cache_salt: Option<String>,
}

/// The text of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trajectory {
    /// Index of the sample.
    pub index: u32,
    /// Principles, critique and scores.
    pub text: String,
}

/// The result for one trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Index of the sample.
    pub index: u32,
    /// The Meta RM's logit, a finite number; or why there is none.
    pub outcome: Result<f64, Failure>,
    /// Whether special tokens in the prompt or in the trajectory were neutralised because the worker's upstream takes
    /// only text.
    pub neutralised: bool,
}

// === impl RankRequest ===

impl From<RankRequest> for v1::RankRequest {
    fn from(request: RankRequest) -> Self {
        Self {
            model_digest: request.model_digest,
            numerics: request.numerics,
            messages: request.messages.into_iter().map(Into::into).collect(),
            trajectories: request.trajectories.into_iter().map(Into::into).collect(),
            request_id: request.request_id,
            remaining_ms: request.remaining_ms,
            cache_salt: request.cache_salt.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::RankRequest> for RankRequest {
    type Error = JuryError;

    fn try_from(request: v1::RankRequest) -> Result<Self, JuryError> {
        let trajectories: Vec<Trajectory> =
            request.trajectories.into_iter().map(Into::into).collect();
        if trajectories.is_empty() {
            return Err(JuryError::invalid("trajectories", "is empty; give at least 1"));
        }
        let indices: BTreeSet<u32> = trajectories.iter().map(|said| said.index).collect();
        if indices.len() < trajectories.len() {
            let problem = "must differ between the trajectories of a call";
            return Err(JuryError::invalid("trajectories.index", problem));
        }
        let messages = request.messages.into_iter().map(TryInto::try_into);
        Ok(Self {
            model_digest: request.model_digest,
            numerics: request.numerics,
            messages: messages.collect::<Result<_, JuryError>>()?,
            trajectories,
            request_id: request.request_id,
            remaining_ms: request.remaining_ms,
            cache_salt: Some(request.cache_salt).filter(|salt| !salt.is_empty()),
        })
    }
}

// === impl Trajectory ===

impl From<Trajectory> for v1::Trajectory {
    fn from(trajectory: Trajectory) -> Self {
        Self { index: trajectory.index, text: trajectory.text }
    }
}

impl From<v1::Trajectory> for Trajectory {
    fn from(trajectory: v1::Trajectory) -> Self {
        Self { index: trajectory.index, text: trajectory.text }
    }
}

// === impl Ranked ===

impl From<Ranked> for v1::Ranked {
    fn from(ranked: Ranked) -> Self {
        use v1::ranked::Outcome;
        let outcome = match ranked.outcome {
            Ok(score) => Outcome::Score(score),
            Err(failure) => Outcome::Failure(failure.into()),
        };
        Self { index: ranked.index, outcome: Some(outcome), neutralised: ranked.neutralised }
    }
}

impl TryFrom<v1::Ranked> for Ranked {
    type Error = JuryError;

    fn try_from(ranked: v1::Ranked) -> Result<Self, JuryError> {
        use v1::ranked::Outcome;
        let outcome = match required("ranked.outcome", ranked.outcome)? {
            Outcome::Score(score) if score.is_finite() => Ok(score),
            Outcome::Score(_) => {
                return Err(JuryError::invalid("ranked.score", "must be a finite number"));
            }
            Outcome::Failure(failure) => Err(failure.into()),
        };
        Ok(Self { index: ranked.index, outcome, neutralised: ranked.neutralised })
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{FailureKind, Role};

    use super::*;

    fn request() -> RankRequest {
        let said = |index, text: &str| Trajectory { index, text: text.to_owned() };
        RankRequest {
            model_digest: "ab".to_owned(),
            numerics: "n".to_owned(),
            messages: vec![Message { role: Role::User, spans: Vec::new() }],
            trajectories: vec![said(0, "Scores: \\boxed{1}"), said(7, "")],
            request_id: "r".to_owned(),
            remaining_ms: Some(5),
            cache_salt: Some("salt".to_owned()),
        }
    }

    #[test]
    fn requests_and_outcomes_survive_the_wire() {
        assert_eq!(RankRequest::try_from(v1::RankRequest::from(request())), Ok(request()));
        let failure = Failure { kind: FailureKind::TooLong, detail: "9 over".to_owned() };
        for (outcome, neutralised) in [(Ok(-1.5), true), (Err(failure), false)] {
            let ranked = Ranked { index: 3, outcome, neutralised };
            assert_eq!(Ranked::try_from(v1::Ranked::from(ranked.clone())), Ok(ranked));
        }
    }

    #[test]
    fn what_cannot_be_ranked_is_refused_by_its_field() {
        let field = |change: fn(&mut RankRequest)| {
            let mut request = request();
            change(&mut request);
            RankRequest::try_from(v1::RankRequest::from(request)).unwrap_err().field.unwrap()
        };
        assert_eq!(field(|request| request.trajectories.clear()), "trajectories");
        assert_eq!(field(|request| request.trajectories[1].index = 0), "trajectories.index");
    }

    #[test]
    fn a_score_that_is_no_number_is_none() {
        let ranked =
            v1::Ranked::from(Ranked { index: 0, outcome: Ok(f64::NAN), neutralised: false });
        assert!(Ranked::try_from(ranked).is_err());
        assert!(Ranked::try_from(v1::Ranked::default()).is_err());
    }
}
