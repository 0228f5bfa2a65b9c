//! Samples.

use jury_grm::domain::{Failure, Outcome, Sample, SampleSpec, Scores};

use super::{enums::issue_from_pb, indices_from_pb, indices_to_pb, required};
use crate::error::JuryError;
use crate::v1;

impl From<SampleSpec> for v1::SampleSpec {
    fn from(spec: SampleSpec) -> Self {
        Self { index: spec.index, seed: spec.seed, order: indices_to_pb(&spec.order) }
    }
}

impl From<v1::SampleSpec> for SampleSpec {
    fn from(spec: v1::SampleSpec) -> Self {
        Self { index: spec.index, seed: spec.seed, order: indices_from_pb(spec.order) }
    }
}

impl From<Sample> for v1::Sample {
    fn from(sample: Sample) -> Self {
        Self {
            spec: Some(sample.spec.into()),
            principles: sample.principles,
            critique: sample.critique,
            outcome: Some(sample.outcome.into()),
            finish: v1::Finish::from(sample.finish).into(),
            issues: sample.issues.into_iter().map(|issue| v1::Issue::from(issue).into()).collect(),
            prompt_tokens: sample.prompt_tokens,
            generated_tokens: sample.generated_tokens,
            meta_score: sample.meta_score,
            hidden_state: sample.hidden_state.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Sample> for Sample {
    type Error = JuryError;

    fn try_from(sample: v1::Sample) -> Result<Self, JuryError> {
        let finish = sample.finish().into();
        let issues = sample.issues().filter_map(issue_from_pb).collect();
        let spec: SampleSpec = required("sample.spec", sample.spec)?.into();
        let outcome: Outcome = required("sample.outcome", sample.outcome)?.into();
        if let Outcome::Scored(scores) = &outcome
            && scores.scores.len() != spec.order.len()
        {
            let (has, shown) = (scores.scores.len(), spec.order.len());
            return Err(JuryError::invalid(
                "sample.scores",
                format!("must have one score for each of {shown} responses shown, has {has}"),
            ));
        }
        Ok(Self {
            spec,
            principles: sample.principles,
            critique: sample.critique,
            outcome,
            finish,
            issues,
            prompt_tokens: sample.prompt_tokens,
            generated_tokens: sample.generated_tokens,
            meta_score: sample.meta_score,
            hidden_state: Some(sample.hidden_state).filter(|state| !state.is_empty()),
        })
    }
}

impl From<Outcome> for v1::sample::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Scored(scores) => Self::Scores(scores.into()),
            Outcome::Failed { failure } => Self::Failure(failure.into()),
        }
    }
}

impl From<v1::sample::Outcome> for Outcome {
    fn from(outcome: v1::sample::Outcome) -> Self {
        match outcome {
            v1::sample::Outcome::Scores(scores) => Self::Scored(scores.into()),
            v1::sample::Outcome::Failure(failure) => Self::Failed { failure: failure.into() },
        }
    }
}

impl From<Scores> for v1::Scores {
    fn from(scores: Scores) -> Self {
        let distributions = scores.score_distribution.unwrap_or_default();
        Self {
            scores: scores.scores,
            distributions: distributions
                .into_iter()
                .map(|probabilities| v1::Distribution { probabilities })
                .collect(),
            readout_mass: scores.readout_mass,
            forced: scores.forced,
        }
    }
}

impl From<v1::Scores> for Scores {
    fn from(scores: v1::Scores) -> Self {
        let distributions: Vec<_> = scores
            .distributions
            .into_iter()
            .map(|distribution| distribution.probabilities)
            .collect();
        Self {
            scores: scores.scores,
            score_distribution: Some(distributions).filter(|list| !list.is_empty()),
            readout_mass: scores.readout_mass,
            forced: scores.forced,
        }
    }
}

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        Self { kind: v1::FailureKind::from(failure.kind).into(), detail: failure.detail }
    }
}

impl From<v1::Failure> for Failure {
    fn from(failure: v1::Failure) -> Self {
        Self { kind: failure.kind().into(), detail: failure.detail }
    }
}
