//! Turns the outcomes of the planned samples into a verdict's status.

use crate::domain::{Counts, FailureKind, Reason, ReasonCode, Sample, Status};

/// The conclusion drawn from the samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Rewards; every sample ran to completion or was not needed, and ranking was done as requested.
    Whole,
    /// Rewards, but some samples did not complete or could not be ranked.
    Partial,
    /// No rewards.
    Unscored(Reason),
}

/// Whether samples were ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranked {
    /// They were ranked, or no ranking was requested.
    AsAsked,
    /// They were not: no Meta RM was available. A retry may find one.
    Unavailable,
}

/// Rewards need `min_samples` valid samples. They are whole when every sample ran to completion or was not needed, and
/// ranking was done as requested. Without rewards, the reason is the cause that the caller can do most about: length,
/// if every sample was too long, then memory, then the budget, then workers, then a rejection by the server behind a
/// worker, then the model's own text. If only some samples were too long, the others may still give rewards on another
/// try, so their cause takes precedence.
pub fn conclude(samples: &[Sample], min_samples: u32, ranked: Ranked) -> Conclusion {
    let counts = Counts::of(samples, 0);
    let Counts { asked, valid, too_long, timed_out, failed, .. } = counts;
    if valid >= min_samples {
        let all_ended = too_long == 0 && timed_out == 0 && failed == 0;
        let is_whole = all_ended && ranked == Ranked::AsAsked;
        return if is_whole { Conclusion::Whole } else { Conclusion::Partial };
    }
    let detail_of = |is_wanted: fn(FailureKind) -> bool| {
        let mut failures = samples.iter().filter_map(Sample::failure);
        failures.find(|failure| is_wanted(failure.kind)).map(|failure| failure.detail.clone())
    };
    let with_figures = |cause: Option<String>| {
        let are = if min_samples == 1 { "is" } else { "are" };
        let figures = format!("{valid} of {asked} samples are valid, {min_samples} {are} needed");
        match cause {
            Some(cause) => format!("{figures}; {cause}"),
            None => figures,
        }
    };
    let why_too_long = detail_of(|kind| kind == FailureKind::TooLong);
    let (code, detail) = if let Some(why) = why_too_long.clone().filter(|_| too_long == asked) {
        (ReasonCode::TooLong, why)
    } else if let Some(too_large) = detail_of(|kind| kind == FailureKind::TooLarge) {
        (ReasonCode::TooLarge, too_large)
    } else if timed_out > 0 {
        (ReasonCode::Budget, with_figures(detail_of(|kind| kind == FailureKind::TimedOut)))
    } else if let Some(lost) = detail_of(|kind| kind == FailureKind::Worker) {
        (ReasonCode::WorkerFailed, with_figures(Some(lost)))
    } else if let Some(rejected) = detail_of(|kind| kind == FailureKind::Rejected) {
        (ReasonCode::Rejected, with_figures(Some(rejected)))
    } else if let Some(unreadable) = detail_of(FailureKind::is_parse) {
        (ReasonCode::ParseFailed, with_figures(Some(unreadable)))
    } else if let Some(why) = why_too_long {
        (ReasonCode::TooLong, with_figures(Some(why)))
    } else {
        (ReasonCode::ParseFailed, with_figures(None))
    };
    Conclusion::Unscored(Reason { code, detail })
}

// === impl Conclusion ===

impl Conclusion {
    /// The verdict's status.
    pub fn status(&self) -> Status {
        match self {
            Self::Whole => Status::Ok,
            Self::Partial => Status::Partial,
            Self::Unscored(_) => Status::Unscored,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Finish, Outcome, SampleSpec, Scores};

    const KINDS: [FailureKind; 10] = [
        FailureKind::NoBox,
        FailureKind::WrongCount,
        FailureKind::OutOfRange,
        FailureKind::LowReadoutMass,
        FailureKind::TimedOut,
        FailureKind::Worker,
        FailureKind::TooLong,
        FailureKind::TooLarge,
        FailureKind::NotNeeded,
        FailureKind::Rejected,
    ];

    /// Samples with the given ends; `None` means scored.
    fn samples(ends: &[Option<FailureKind>]) -> Vec<Sample> {
        let scores = Scores {
            scores: vec![5.0],
            score_distribution: None,
            readout_mass: None,
            forced: false,
        };
        let indexed = ends.iter().zip(0..);
        indexed
            .map(|(end, index)| {
                let spec = SampleSpec { index, seed: 0, order: vec![0] };
                let failed = |kind| Sample::failed(spec.clone(), kind, format!("{kind:?}"));
                match end {
                    Some(kind) => failed(*kind),
                    None => Sample {
                        outcome: Outcome::Scored(scores.clone()),
                        finish: Finish::Box,
                        ..failed(FailureKind::NoBox)
                    },
                }
            })
            .collect()
    }

    fn reason(ends: &[Option<FailureKind>]) -> ReasonCode {
        match conclude(&samples(ends), 1, Ranked::AsAsked) {
            Conclusion::Unscored(reason) => reason.code,
            rewarded => panic!("{rewarded:?}"),
        }
    }

    #[test]
    fn what_was_not_needed_leaves_a_verdict_whole() {
        let ends = [None, Some(FailureKind::NotNeeded), Some(FailureKind::NoBox)];
        assert_eq!(conclude(&samples(&ends), 1, Ranked::AsAsked), Conclusion::Whole);
    }

    #[test]
    fn samples_of_changed_prompts_are_counted_whatever_became_of_them() {
        use crate::domain::Issue;
        let mut samples = samples(&[None, Some(FailureKind::NoBox), None]);
        samples[0].issues = vec![Issue::Fraction, Issue::NeutralisedSpecials];
        samples[1].issues = vec![Issue::NeutralisedSpecials];
        let counts = Counts::of(&samples, 2);
        assert_eq!((counts.asked, counts.valid, counts.neutralised), (3, 2, 2));
    }

    #[test]
    fn the_reason_is_the_cause_that_a_caller_can_do_most_about() {
        use FailureKind::{NoBox, Rejected, TimedOut, TooLarge, TooLong, Worker};
        assert_eq!(reason(&[Some(TooLong), Some(TooLong)]), ReasonCode::TooLong);
        assert_eq!(
            reason(&[Some(NoBox), Some(Worker), Some(TimedOut), Some(TooLarge)]),
            ReasonCode::TooLarge
        );
        assert_eq!(reason(&[Some(NoBox), Some(Worker), Some(TimedOut)]), ReasonCode::Budget);
        assert_eq!(reason(&[Some(NoBox), Some(Rejected), Some(Worker)]), ReasonCode::WorkerFailed);
        assert_eq!(reason(&[Some(NoBox), Some(Rejected)]), ReasonCode::Rejected);
        assert_eq!(reason(&[Some(NoBox)]), ReasonCode::ParseFailed);
    }

    #[test]
    fn samples_that_are_too_long_do_not_hide_the_cause_of_the_others() {
        use FailureKind::{NoBox, NotNeeded, TimedOut, TooLong, Worker};
        for (cause, code) in [
            (TimedOut, ReasonCode::Budget),
            (Worker, ReasonCode::WorkerFailed),
            (NoBox, ReasonCode::ParseFailed),
            (NotNeeded, ReasonCode::TooLong),
        ] {
            assert_eq!(reason(&[Some(TooLong), Some(cause), Some(TooLong)]), code, "{cause:?}");
        }
        let some = samples(&[None, Some(TooLong)]);
        let Conclusion::Unscored(reason) = conclude(&some, 2, Ranked::AsAsked) else { panic!() };
        assert_eq!(reason.code, ReasonCode::TooLong);
        assert_eq!(reason.detail, "1 of 2 samples are valid, 2 are needed; TooLong");
    }

    proptest! {
        #[test]
        fn status_follows_from_the_counts_and_from_whether_they_were_ranked_as_asked(
            ends in prop::collection::vec(prop::option::of(prop::sample::select(KINDS.to_vec())), 1..12),
            min_samples in 1u32..6,
            ranked in prop::sample::select(vec![Ranked::AsAsked, Ranked::Unavailable]),
        ) {
            let samples = samples(&ends);
            let counts = Counts::of(&samples, 0);
            let cut_off = counts.too_long + counts.timed_out + counts.failed;
            let expected = match (counts.valid >= min_samples, cut_off, ranked) {
                (true, 0, Ranked::AsAsked) => Status::Ok,
                (true, ..) => Status::Partial,
                (false, ..) => Status::Unscored,
            };
            let conclusion = conclude(&samples, min_samples, ranked);
            prop_assert_eq!(conclusion.status(), expected);
            if let Conclusion::Unscored(_) = &conclusion {
                // Failing to rank the samples is never the reason for missing rewards.
                prop_assert_eq!(&conclusion, &conclude(&samples, min_samples, Ranked::AsAsked));
            }
        }
    }
}
