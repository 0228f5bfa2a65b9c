//! Replays every stop rule on the recorded samples: the same draws for all rules.

use jury_grm::domain::{Sample, ScoreRequest, StopRule, Voting};
use jury_grm::stop::{Stopping, replay};
use jury_grm::vote::vote;
use serde::{Deserialize, Serialize};

use crate::credit;
use crate::curve::samples_of;
use crate::judged::Judged;
use crate::method::Method;
use crate::truth::Truth;

/// The rules that are compared under a plain vote.
pub const RULES: [StopRule; 8] = [
    StopRule::Never,
    StopRule::Lossless,
    StopRule::Confidence(0.99),
    StopRule::Confidence(0.95),
    StopRule::Confidence(0.9),
    StopRule::Width(1.0),
    StopRule::Width(2.0),
    StopRule::Width(3.0),
];

/// The rules for the vote of the best half by meta score. Requests reject the others with it, because they require
/// votes of equal weight.
pub const RULES_OF_RANKED: [StopRule; 2] = [StopRule::Never, StopRule::Lossless];

/// One rule over all items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The rule.
    pub rule: StopRule,
    /// How the samples voted: `vote`, or `meta` for the best half by meta score.
    #[serde(default = "plain")]
    pub method: Method,
    /// Share of the planned samples that were not needed.
    pub saved: f64,
    /// Share of items whose pick differs from that of all samples.
    pub other_pick: f64,
    /// Strict accuracy of the picks; null if no item has several responses.
    pub accuracy: Option<f64>,
    /// Mean absolute difference between the rewards and those of all samples, in points of the scale.
    pub reward_error: f64,
    /// Mean difference between the pick's reward and that from all samples: the bias caused by stopping.
    pub bias_of_pick: f64,
    /// Number of items that it is based on.
    pub n_items: usize,
}

/// Replays every rule on the recorded samples: under a plain vote, and, for the items whose samples have a meta
/// score, under the vote of the best half by meta score.
pub fn compare(items: &[Judged]) -> Vec<Stopped> {
    let all: Vec<&Judged> = items.iter().collect();
    let is_ranked = |judged: &&Judged| samples_of(judged, Method::Meta).is_some();
    let ranked: Vec<&Judged> = items.iter().filter(is_ranked).collect();
    let has_meta = |judged: &&Judged| judged.samples.iter().any(|one| one.meta_score.is_some());
    let plain = RULES.iter().map(|rule| stopped(*rule, Method::Vote, &all));
    // Items whose samples all failed do not count as lacking meta scores, but alone they show nothing.
    let rules_of_ranked: &[StopRule] =
        if ranked.iter().any(has_meta) { &RULES_OF_RANKED } else { &[] };
    let ranked = rules_of_ranked.iter().map(|rule| stopped(*rule, Method::Meta, &ranked));
    plain.chain(ranked).collect()
}

/// The method that reports replayed before Meta ranking existed.
fn plain() -> Method {
    Method::Vote
}

fn stopped(rule: StopRule, method: Method, items: &[&Judged]) -> Stopped {
    let (mut saved, mut planned, mut other_pick, mut n_rewards) = (0, 0, 0_u32, 0_u32);
    let (mut strict, mut n_ranked, mut error, mut bias, mut n_picks) =
        (0.0, 0_u32, 0.0, 0.0, 0_u32);
    for judged in items {
        let voting = Voting { stop: rule, ..Voting::default() };
        let request = ScoreRequest { voting, ..judged.request.clone() };
        let plan = judged.plan(&request);
        let votes = method.rule(plan.samples.len());
        let stopping = Stopping::new(&request, &plan, votes);
        let replayed = replay(&judged.samples, &stopping);
        saved += replayed.saved;
        planned += replayed.saved + replayed.prefix;
        let is_voting = |sample: &&Sample| sample.spec.index < replayed.prefix;
        let prefix: Vec<Sample> = judged.samples.iter().filter(is_voting).cloned().collect();
        let few = vote(&judged.duplicate_of, &prefix, votes);
        let all = vote(&judged.duplicate_of, &judged.samples, votes);
        other_pick += u32::from(few.pick != all.pick);
        for (few, all) in few.rewards.iter().zip(&all.rewards) {
            let (Some(few), Some(all)) = (few, all) else { continue };
            error += (few - all).abs();
            n_rewards += 1;
        }
        if let Some(pick) = few.pick
            && let (Some(few), Some(all)) = (few.rewards[pick], all.rewards[pick])
        {
            bias += few - all;
            n_picks += 1;
        }
        if let Truth::Best(best) = judged.truth {
            strict += credit::of(&few.rewards, &judged.duplicate_of, best).strict;
            n_ranked += 1;
        }
    }
    let share = |sum: f64, n: u32| if n > 0 { sum / f64::from(n) } else { 0.0 };
    Stopped {
        rule,
        method,
        saved: share(f64::from(saved), planned),
        other_pick: share(f64::from(other_pick), u32::try_from(items.len()).unwrap_or(u32::MAX)),
        accuracy: (n_ranked > 0).then(|| strict / f64::from(n_ranked)),
        reward_error: share(error, n_rewards),
        bias_of_pick: share(bias, n_picks),
        n_items: items.len(),
    }
}

// === impl Stopped ===

impl Stopped {
    /// The rule as written in options, and how the samples voted unless it was a plain vote.
    pub fn name(&self) -> String {
        match self.method {
            Method::Vote => name(self.rule),
            method => format!("{}, {method}", name(self.rule)),
        }
    }
}

fn name(rule: StopRule) -> String {
    match rule {
        StopRule::Never => "never".to_owned(),
        StopRule::Lossless => "lossless".to_owned(),
        StopRule::Confidence(level) => format!("confidence={level}"),
        StopRule::Width(width) => format!("width={width}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::tests::judged;

    fn of_k(query: &str, samples: &[(f64, f64, f64)]) -> Judged {
        let mut item = judged(query, samples);
        item.request.settings.k = u32::try_from(samples.len()).unwrap();
        item
    }

    fn found(all: &[Stopped], rule: StopRule, method: Method) -> Stopped {
        let is_it = |one: &&Stopped| one.rule == rule && one.method == method;
        *all.iter().find(is_it).unwrap()
    }

    #[test]
    fn lossless_saves_what_cannot_matter_and_keeps_every_pick() {
        let clear = [(10.0, 1.0, 0.0); 8];
        let close = [(5.0, 6.0, 0.0), (6.0, 5.0, 0.0), (5.0, 6.0, 0.0), (7.0, 5.0, 0.0)];
        let all = compare(&[of_k("clear", &clear), of_k("close", &close)]);
        let lossless = found(&all, StopRule::Lossless, Method::Vote);
        // The clear one leads by 9 per sample: after 6 of 8, the last two cannot reverse it. The close one needs all
        // 4.
        assert_eq!(lossless.saved, 2.0 / 12.0);
        assert_eq!(lossless.other_pick, 0.0);
        let never = found(&all, StopRule::Never, Method::Vote);
        assert_eq!((never.saved, never.other_pick, never.reward_error), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_response_that_fitted_no_prompt_changes_nothing_for_the_others() {
        let item = of_k("q", &[(9.0, 2.0, 0.0); 32]);
        let mut beside_long = item.clone();
        beside_long.request.item.responses.push("too long".to_owned());
        beside_long.duplicate_of.push(2);
        let (alone, beside_long) = (compare(&[item]), compare(&[beside_long]));
        for rule in [StopRule::Lossless, StopRule::Confidence(0.95), StopRule::Width(3.0)] {
            let saved = |all: &[Stopped]| found(all, rule, Method::Vote).saved;
            assert!(saved(&alone) > 0.0, "{rule:?}");
            assert_eq!(saved(&beside_long), saved(&alone), "{rule:?}");
        }
    }

    #[test]
    fn with_meta_ranking_lossless_is_replayed_under_the_vote_of_the_best_half() {
        // Of eight samples the best four vote. After six, the next two may push out the two lowest of them: the two
        // that stay lead by 9 each, and the two new ones may take back exactly that. With a k of 12, the best six
        // vote, and the four that stay lead by 36.
        let eight = [(10.0, 1.0, 1.0); 8];
        let twelve = [(10.0, 1.0, 1.0); 12];
        let lossless = |samples: &[(f64, f64, f64)]| {
            let all = compare(&[of_k("q", samples)]);
            assert_eq!(all.iter().filter(|one| one.method == Method::Meta).count(), 2);
            found(&all, StopRule::Lossless, Method::Meta)
        };
        let all_needed = lossless(&eight);
        assert_eq!((all_needed.saved, all_needed.other_pick), (0.0, 0.0));
        let saved = lossless(&twelve);
        assert_eq!((saved.saved, saved.other_pick, saved.n_items), (2.0 / 12.0, 0.0, 1));
        assert_eq!(saved.name(), "lossless, meta");
    }

    #[test]
    fn without_meta_scores_nothing_is_replayed_under_them() {
        let mut item = of_k("q", &[(10.0, 1.0, 0.0); 4]);
        item.samples[1].meta_score = None;
        assert!(compare(&[item]).iter().all(|one| one.method == Method::Vote));
    }
}
