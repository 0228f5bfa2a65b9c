//! Numbers and states in words for people.

use std::time::Duration;

use jury_grm::domain::{
    FailureKind, Finish, Issue, Phase, Readout, Reproducible, Status, StopRule, StoppedBy,
    VoteRule, Voting,
};

use crate::opened::{Ballot, Voice};

/// A reward.
pub(crate) fn reward(reward: Option<f64>) -> String {
    reward.map_or_else(|| "none".to_owned(), |reward| format!("{reward:.2}"))
}

/// A score: whole ones without decimals, means with one.
pub(crate) fn score(score: f64) -> String {
    if score.fract() == 0.0 { format!("{score:.0}") } else { format!("{score:.1}") }
}

/// A share, 0..=1. 100 % and 0 % are exact.
pub(crate) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent.round() {
        rounded if (rounded == 100.0) == (share == 1.0) && (rounded == 0.0) == (share == 0.0) => {
            format!("{rounded:.0} %")
        }
        100.0 => "> 99 %".to_owned(),
        _ => "< 1 %".to_owned(),
    }
}

/// A count with thousands separators.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push('\u{202f}');
        }
        apart.push(digit);
    }
    apart
}

/// A duration.
pub(crate) fn took(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{seconds:.1} s"),
        60_000..3_600_000 => {
            format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
        }
        _ => format!("{} h {:02} min", duration.as_secs() / 3600, duration.as_secs() / 60 % 60),
    }
}

/// The beginning of a digest.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(8).collect()
}

pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Ok => "OK",
        Status::Partial => "PARTIAL",
        Status::Unscored => "UNSCORED",
    }
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Prefill => "reading the prompt",
        Phase::Drawing => "drawing",
    }
}

/// Whether and how a sample voted.
pub(crate) fn voice(voice: Voice) -> String {
    match voice {
        Voice::Pending => "not yet".to_owned(),
        Voice::Uncounted => "ended".to_owned(),
        Voice::Voted(None) => "voted".to_owned(),
        Voice::Voted(Some(weight)) => format!("voted, weight {weight:.3}"),
        Voice::Silent => "did not vote".to_owned(),
        Voice::Without => "no scores".to_owned(),
    }
}

pub(crate) fn ballot(ballot: Ballot) -> &'static str {
    match ballot {
        Ballot::Agrees => "agrees",
        Ballot::Ties => "ties",
        Ballot::Differs => "differs",
        Ballot::NotShown => "not shown the pick",
        Ballot::None => "no vote",
    }
}

pub(crate) fn failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::NoBox => "no score box",
        FailureKind::WrongCount => "wrong count of scores",
        FailureKind::OutOfRange => "score out of range",
        FailureKind::LowReadoutMass => "low read-out mass",
        FailureKind::TimedOut => "cut off by the budget",
        FailureKind::Worker => "lost with a worker",
        FailureKind::TooLong => "prompt too long",
        FailureKind::TooLarge => "prompt too large for the memory",
        FailureKind::NotNeeded => "not needed",
        FailureKind::Rejected => "rejected by the server",
    }
}

pub(crate) fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Box => "at its score box",
        Finish::EndOfText => "the model ended its turn",
        Finish::Limit => "at the token limit",
        Finish::None => "it never finished",
    }
}

pub(crate) fn issue(issue: Issue) -> &'static str {
    match issue {
        Issue::BoxOutsideScores => "the box stood under no Scores heading",
        Issue::BareBrackets => "the scores stood in bare brackets",
        Issue::SeveralBoxes => "several boxes; the last one counts",
        Issue::NoAnalysisHeading => "no heading between principles and critique",
        Issue::Fraction => "a score was written like 8/10",
        Issue::NeutralisedSpecials => "special tokens in the caller's text were neutralised",
    }
}

pub(crate) fn readout(readout: Readout) -> &'static str {
    match readout {
        Readout::Free => "free",
        Readout::Sampled => "guided, sampled",
        Readout::Expected => "guided, expected",
    }
}

pub(crate) fn reproducible(reproducible: Reproducible) -> &'static str {
    match reproducible {
        Reproducible::Bitwise => "bit for bit",
        Reproducible::Seeded => "seeded; bits may differ",
        Reproducible::None => "not promised",
    }
}

pub(crate) fn stopped_by(stopped_by: StoppedBy) -> &'static str {
    match stopped_by {
        StoppedBy::Complete => "all planned samples were drawn",
        StoppedBy::Budget => "the budget ended",
        StoppedBy::Refused => "nothing could be drawn",
        StoppedBy::Lossless => "the pick could not change any more",
        StoppedBy::Confidence => "the pick was known with the confidence asked for",
        StoppedBy::Width => "every reward was known as narrowly as asked",
    }
}

/// The vote's rule, in a sentence.
pub(crate) fn rule(voting: &Voting) -> String {
    match voting.rule {
        None | Some(VoteRule::Mean) => "the mean score of the voting samples".to_owned(),
        Some(VoteRule::Top) => match voting.k_meta {
            Some(k_meta) => {
                format!("the mean score of the {k_meta} samples with the highest meta scores")
            }
            None => "the mean score of the samples with the highest meta scores".to_owned(),
        },
        Some(VoteRule::Majority) => "the share of the samples whose own best it is".to_owned(),
        Some(VoteRule::Weighted) => "the mean score, weighted by the Meta RM".to_owned(),
    }
}

pub(crate) fn stop_rule(stop: StopRule) -> String {
    match stop {
        StopRule::Never => "never early".to_owned(),
        StopRule::Lossless => "lossless".to_owned(),
        StopRule::Confidence(level) => format!("at confidence {level}"),
        StopRule::Width(width) => format!("at width {width}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_like_this() {
        assert_eq!(
            (score(8.0), score(7.25), reward(None)),
            ("8".into(), "7.2".into(), "none".into())
        );
        let shares = [0.0, 0.001, 0.015, 0.5, 255.0 / 256.0, 1.0].map(percent);
        assert_eq!(shares, ["0 %", "< 1 %", "2 %", "50 %", "> 99 %", "100 %"]);
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((thousands(999), thousands(1000)), ("999".into(), "1\u{202f}000".into()));
        let seconds = Duration::from_secs;
        assert_eq!(took(Duration::from_millis(999)), "999 ms");
        assert_eq!((took(seconds(59)), took(seconds(61))), ("59.0 s".into(), "1 min 01 s".into()));
        assert_eq!(took(seconds(3661)), "1 h 01 min");
    }
}
