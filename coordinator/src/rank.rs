//! Which Meta RM ranks the samples of a request, and the result: either all valid samples are ranked, or none counts
//! as ranked.
//!
//! A head ranks on the workers that draw. A separate model is called (`calls`) while other samples are being drawn
//! (`drawing`).

mod calls;
mod drawing;

use std::time::Duration;

use jury_grm::domain::{Sample, Voting};
use jury_grm::vote::is_unranked;

use crate::fleet::{Fleet, WorkerClass};

pub(crate) use calls::{MetaCalls, MetaJob};
pub(crate) use drawing::RankedDrawing;

/// How the samples of one request are ranked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ranking {
    /// No ranking was asked for.
    None,
    /// By a head on the judging model: its workers score each sample as it ends.
    Head {
        /// Digest of its file.
        digest: String,
    },
    /// By a separate model: its workers are called as samples end.
    Model {
        /// The class that serves it.
        class: WorkerClass,
        /// Why samples have no meta score.
        why: Option<String>,
    },
    /// A Meta RM was asked for, but no worker serves it.
    Unavailable {
        /// Why, as a sentence for display.
        why: String,
    },
}

// === impl Ranking ===

impl Ranking {
    /// Finds the ranking that `voting` asks for, and the class that draws: `class`, or one of the same model whose
    /// workers have the head. A worker that has just been started gets `patience` to report what it serves.
    pub(crate) async fn find(
        voting: &Voting,
        class: WorkerClass,
        fleet: &Fleet,
        patience: Duration,
    ) -> (WorkerClass, Self) {
        match Self::of(voting, class, fleet) {
            (class, Self::Unavailable { .. }) => {
                fleet.wait_until_known(&[], patience).await;
                Self::of(voting, class, fleet)
            }
            found => found,
        }
    }

    fn of(voting: &Voting, class: WorkerClass, fleet: &Fleet) -> (WorkerClass, Self) {
        let Some(name) = &voting.meta else { return (class, Self::None) };
        if let Some(with_head) = fleet.class_with_head(&class.model, name)
            && let Some(digest) = fleet.head(&with_head, name)
        {
            return (with_head, Self::Head { digest });
        }
        if let Some(meta) = fleet.meta_class(name) {
            return (class, Self::Model { class: meta, why: None });
        }
        let model = &class.model;
        let why = format!(
            "no worker with the role meta serves {name:?}, and no worker of model {model:?} has a head of that name"
        );
        (class, Self::Unavailable { why })
    }

    /// Digest of the head that workers must score samples with.
    pub(crate) fn head_digest(&self) -> Option<&str> {
        match self {
            Self::Head { digest } => Some(digest),
            Self::None | Self::Model { .. } | Self::Unavailable { .. } => None,
        }
    }

    /// The class whose workers must be called for meta scores.
    pub(crate) fn model(&self) -> Option<&WorkerClass> {
        match self {
            Self::Model { class, .. } => Some(class),
            Self::None | Self::Head { .. } | Self::Unavailable { .. } => None,
        }
    }

    /// The same, with the reason why samples have no meta score.
    pub(crate) fn explained(self, reason: Option<String>) -> Self {
        match self {
            Self::Model { class, .. } => Self::Model { class, why: reason },
            other => other,
        }
    }

    /// Digest of the Meta RM that ranked every valid one of `samples`, if ranking was asked for.
    ///
    /// # Errors
    /// Why there are no ranks to vote by.
    pub(crate) fn result(&self, samples: &[Sample]) -> Result<Option<String>, String> {
        match self {
            Self::None => Ok(None),
            Self::Unavailable { why } => Err(why.clone()),
            Self::Head { digest } => all_ranked(samples, digest),
            Self::Model { class, why } => {
                let explain = |missing: String| match why {
                    Some(why) => format!("{missing}: {why}"),
                    None => missing,
                };
                all_ranked(samples, &class.model_digest).map_err(explain)
            }
        }
    }
}

fn all_ranked(samples: &[Sample], digest: &str) -> Result<Option<String>, String> {
    let n_unranked = samples.iter().filter(|sample| is_unranked(sample)).count();
    if n_unranked == 0 {
        return Ok(Some(digest.to_owned()));
    }
    let n_valid = samples.iter().filter(|sample| sample.scores().is_some()).count();
    Err(format!("{n_unranked} of {n_valid} valid samples came without a meta score"))
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{FailureKind, Outcome, SampleSpec, Scores};

    use super::*;

    fn valid(index: u32, meta_score: Option<f64>) -> Sample {
        let spec = SampleSpec { index, seed: 0, order: vec![0] };
        let scores = Scores {
            scores: vec![5.0],
            score_distribution: None,
            readout_mass: None,
            forced: false,
        };
        let failed = Sample::failed(spec, FailureKind::NoBox, "");
        Sample { outcome: Outcome::Scored(scores), meta_score, ..failed }
    }

    #[test]
    fn all_valid_samples_are_ranked_or_none() {
        let head = Ranking::Head { digest: "h".to_owned() };
        let mut samples = vec![valid(0, Some(1.0)), valid(1, Some(-1.0))];
        samples.push(Sample::failed(samples[0].spec.clone(), FailureKind::NoBox, ""));
        assert_eq!(head.result(&samples), Ok(Some("h".to_owned())));
        samples.push(valid(3, None));
        let why = head.result(&samples).unwrap_err();
        assert_eq!(why, "1 of 3 valid samples came without a meta score");
        assert_eq!(Ranking::None.result(&samples), Ok(None));
    }
}
