//! Voting: absent fields take the default, so reading never fails; limits are checked by
//! `ScoreRequest::validate`.

use jury_grm::domain::{StopRule, VoteRule, Voting};

use crate::v1;

impl From<Voting> for v1::Voting {
    fn from(voting: Voting) -> Self {
        Self {
            meta: voting.meta.unwrap_or_default(),
            rule: voting.rule.map_or(v1::VoteRule::Unspecified, Into::into).into(),
            k_meta: voting.k_meta,
            stop: rule_to_pb(voting.stop).map(|rule| v1::StopRule { rule: Some(rule) }),
            refill: voting.refill,
        }
    }
}

impl From<v1::Voting> for Voting {
    fn from(voting: v1::Voting) -> Self {
        Self {
            rule: rule_from_pb(voting.rule()),
            meta: Some(voting.meta).filter(|meta| !meta.is_empty()),
            k_meta: voting.k_meta,
            stop: voting.stop.and_then(|stop| stop.rule).map_or(StopRule::Never, stop_from_pb),
            refill: voting.refill,
        }
    }
}

impl From<VoteRule> for v1::VoteRule {
    fn from(rule: VoteRule) -> Self {
        match rule {
            VoteRule::Mean => Self::Mean,
            VoteRule::Top => Self::Top,
            VoteRule::Majority => Self::Majority,
            VoteRule::Weighted => Self::Weighted,
        }
    }
}

fn rule_from_pb(rule: v1::VoteRule) -> Option<VoteRule> {
    match rule {
        v1::VoteRule::Unspecified => None,
        v1::VoteRule::Mean => Some(VoteRule::Mean),
        v1::VoteRule::Top => Some(VoteRule::Top),
        v1::VoteRule::Majority => Some(VoteRule::Majority),
        v1::VoteRule::Weighted => Some(VoteRule::Weighted),
    }
}

fn rule_to_pb(stop: StopRule) -> Option<v1::stop_rule::Rule> {
    match stop {
        StopRule::Never => None,
        StopRule::Lossless => Some(v1::stop_rule::Rule::Lossless(true)),
        StopRule::Confidence(level) => Some(v1::stop_rule::Rule::Confidence(level)),
        StopRule::Width(width) => Some(v1::stop_rule::Rule::Width(width)),
    }
}

fn stop_from_pb(rule: v1::stop_rule::Rule) -> StopRule {
    match rule {
        v1::stop_rule::Rule::Lossless(true) => StopRule::Lossless,
        v1::stop_rule::Rule::Lossless(false) => StopRule::Never,
        v1::stop_rule::Rule::Confidence(level) => StopRule::Confidence(level),
        v1::stop_rule::Rule::Width(width) => StopRule::Width(width),
    }
}
