//! What every stop rule would have made of the recorded samples: the same draws for all of them.

use jury_grm::domain::{Sample, ScoreRequest, StopRule, Voting};
use jury_grm::plan::plan;
use jury_grm::stop::{Stopping, replay};
use jury_grm::vote::{Rule, vote};
use serde::{Deserialize, Serialize};

use crate::credit;
use crate::judged::Judged;
use crate::truth::Truth;

/// The rules that are compared.
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

/// One rule over all items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The rule.
    pub rule: StopRule,
    /// Share of the planned samples that were not needed.
    pub saved: f64,
    /// Share of items whose pick is another than that of all samples.
    pub other_pick: f64,
    /// Strict accuracy of the picks; null without items of several responses.
    pub accuracy: Option<f64>,
    /// Mean absolute difference of the rewards from those of all samples, in points of the scale.
    pub reward_error: f64,
    /// Mean difference of the pick's reward from that of all samples: what stopping adds to it.
    pub bias_of_pick: f64,
    /// Items behind it.
    pub n_items: usize,
}

/// Replays every rule under a plain vote over the samples as they were drawn.
pub fn compare(items: &[Judged]) -> Vec<Stopped> {
    RULES.iter().map(|rule| stopped(*rule, items)).collect()
}

fn stopped(rule: StopRule, items: &[Judged]) -> Stopped {
    let (mut saved, mut planned, mut other_pick, mut n_rewards) = (0, 0, 0_u32, 0_u32);
    let (mut strict, mut n_ranked, mut error, mut bias, mut n_picks) =
        (0.0, 0_u32, 0.0, 0.0, 0_u32);
    for judged in items {
        let voting = Voting { stop: rule, ..Voting::default() };
        let request = ScoreRequest { voting, ..judged.request.clone() };
        let stopping = Stopping::new(&request, &plan(&request), Rule::Mean);
        let replayed = replay(&judged.samples, &stopping);
        saved += replayed.saved;
        planned += replayed.saved + replayed.prefix;
        let is_voting = |sample: &&Sample| sample.spec.index < replayed.prefix;
        let prefix: Vec<Sample> = judged.samples.iter().filter(is_voting).cloned().collect();
        let few = vote(&judged.duplicate_of, &prefix, Rule::Mean);
        let all = vote(&judged.duplicate_of, &judged.samples, Rule::Mean);
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
        saved: share(f64::from(saved), planned),
        other_pick: share(f64::from(other_pick), u32::try_from(items.len()).unwrap_or(u32::MAX)),
        accuracy: (n_ranked > 0).then(|| strict / f64::from(n_ranked)),
        reward_error: share(error, n_rewards),
        bias_of_pick: share(bias, n_picks),
        n_items: items.len(),
    }
}

/// A rule as options write it.
pub fn name(rule: StopRule) -> String {
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

    #[test]
    fn lossless_saves_what_cannot_matter_and_keeps_every_pick() {
        let clear = [(10.0, 1.0, 0.0); 8];
        let close = [(5.0, 6.0, 0.0), (6.0, 5.0, 0.0), (5.0, 6.0, 0.0), (7.0, 5.0, 0.0)];
        let mut items = vec![judged("clear", &clear), judged("close", &close)];
        for item in &mut items {
            item.request.settings.k = u32::try_from(item.samples.len()).unwrap();
        }
        let all = compare(&items);
        let lossless = all.iter().find(|one| one.rule == StopRule::Lossless).unwrap();
        // The clear one leads by 9 a sample: after 6 of 8 the last two cannot turn it. The close one needs all 4.
        assert_eq!(lossless.saved, 2.0 / 12.0);
        assert_eq!(lossless.other_pick, 0.0);
        let never = all.iter().find(|one| one.rule == StopRule::Never).unwrap();
        assert_eq!((never.saved, never.other_pick, never.reward_error), (0.0, 0.0, 0.0));
    }
}
