use proptest::prelude::*;

use super::*;
use crate::domain::{
    FailureKind, Finish, Item, Outcome, Query, SampleSpec, Scores, Settings, Voting,
};
use crate::plan::{Fitting, Overflow, plan, plan_fitting};
use crate::random::SplitMix64;
use crate::vote::{Calibration, highest, rewards, unit, vote, votes};

mod exhaustive;
mod laws;
mod recorded;
mod simulation;

/// A plan over `n` responses, with its stop rule.
#[derive(Debug, Clone)]
struct Setup {
    request: ScoreRequest,
    plan: Plan,
    rule: Rule,
}

/// The outcome of one sample: scores by response, or nothing readable.
type Row = Option<Vec<f64>>;

impl Setup {
    fn new(n: usize, settings: Settings, voting: Voting, rule: Rule) -> Self {
        let responses = (0..n).map(|i| format!("response {i}")).collect();
        let item = Item::bare(Query::Text("Which is best?".into()), responses);
        let request = ScoreRequest { settings, voting, ..ScoreRequest::new(item) };
        let plan = plan(&request);
        Self { request, plan, rule }
    }

    /// One without panels, on the scale 1..10.
    fn plain(n: usize, k: u32, stop: StopRule, rule: Rule) -> Self {
        let settings = Settings { k, max_panel: 64, ..Settings::default() };
        Self::new(n, settings, Voting { stop, ..Voting::default() }, rule)
    }

    fn stopping(&self) -> Stopping {
        Stopping::new(&self.request, &self.plan, self.rule)
    }

    /// The shortest prefix of these samples after which the rule fires.
    fn stop(&self, samples: &[Sample]) -> Option<Stop> {
        let mut arrivals = Arrivals::new(self.stopping());
        samples.iter().find_map(|sample| arrivals.push(sample.clone()))
    }

    /// The rewards of the verdict, without the bootstrap, which takes most of a vote's time.
    fn rewards(&self, samples: &[Sample]) -> Vec<Option<f64>> {
        let rule = self.rule.in_force(samples);
        rewards(&self.plan.duplicate_of, &votes(&self.plan.duplicate_of, samples, rule), unit(rule))
    }

    fn pick(&self, samples: &[Sample]) -> Option<usize> {
        highest(self.rewards(samples).into_iter())
    }

    /// The planned samples with these outcomes and meta scores.
    fn samples(&self, rows: &[Row], metas: &[f64]) -> Vec<Sample> {
        let specs = self.plan.samples.iter().chain(&self.plan.spares);
        let outcomes = rows.iter().zip(metas);
        specs.zip(outcomes).map(|(spec, (row, &meta))| sample(spec, row.as_deref(), meta)).collect()
    }
}

fn sample(spec: &SampleSpec, row: Option<&[f64]>, meta: f64) -> Sample {
    let failed = Sample::failed(spec.clone(), FailureKind::NoBox, "");
    let Some(row) = row else { return failed };
    let scores = spec.order.iter().map(|&response| row[response]).collect();
    let scores = Scores { scores, score_distribution: None, readout_mass: None, forced: false };
    Sample {
        outcome: Outcome::Scored(scores),
        finish: Finish::Box,
        meta_score: Some(meta),
        generated_tokens: 10,
        ..failed
    }
}

/// Every planned sample with the same scores.
fn all_alike(setup: &Setup, row: &[f64]) -> Vec<Sample> {
    let k = setup.plan.samples.len();
    setup.samples(&vec![Some(row.to_vec()); k], &vec![0.0; k])
}

#[test]
fn a_plain_vote_stops_once_the_lead_cannot_be_made_up() {
    let setup = Setup::plain(2, 8, StopRule::Lossless, Rule::Mean);
    // A lead of 9 per sample: 36 after four, and four more can take 36 away.
    let landslide = all_alike(&setup, &[10.0, 1.0]);
    let stop = setup.stop(&landslide).unwrap();
    assert_eq!(stop, Stop { prefix: 6, by: StoppedBy::Lossless }, "rules fire at block ends");
    assert_eq!(replay(&landslide, &setup.stopping()), Replay { prefix: 6, saved: 2 });
    let narrow = all_alike(&setup, &[6.0, 5.0]);
    assert_eq!(replay(&narrow, &setup.stopping()), Replay { prefix: 8, saved: 0 });
}

#[test]
fn picks_here_are_those_of_verdicts() {
    let setup = Setup::plain(3, 6, StopRule::Never, Rule::Majority);
    for row in [[1.0, 2.0, 3.0], [2.0, 3.0, 3.0], [5.0, 5.0, 1.0]] {
        let samples = all_alike(&setup, &row);
        let ballot = vote(&setup.plan.duplicate_of, &samples, setup.rule);
        assert_eq!((setup.pick(&samples), setup.rewards(&samples)), (ballot.pick, ballot.rewards));
    }
}

#[test]
fn without_a_rule_nothing_stops() {
    let setup = Setup::plain(2, 8, StopRule::Never, Rule::Mean);
    assert_eq!(setup.stop(&all_alike(&setup, &[10.0, 1.0])), None);
}

#[test]
fn a_single_response_has_no_pick_to_be_sure_of() {
    for stop in [StopRule::Lossless, StopRule::Confidence(0.9)] {
        let setup = Setup::plain(1, 8, stop, Rule::Mean);
        assert_eq!(setup.stop(&all_alike(&setup, &[7.0])), None);
    }
}

#[test]
fn a_lost_sample_in_the_prefix_lets_nothing_fire() {
    let setup = Setup::plain(2, 8, StopRule::Lossless, Rule::Mean);
    for (kind, fires) in [
        (FailureKind::NoBox, true),
        (FailureKind::Worker, false),
        (FailureKind::TimedOut, false),
        (FailureKind::TooLong, false),
    ] {
        let mut samples = all_alike(&setup, &[10.0, 1.0]);
        samples[0] = Sample::failed(samples[0].spec.clone(), kind, "");
        assert_eq!(setup.stop(&samples).is_some(), fires, "{kind:?}");
    }
}

#[test]
fn fewest_samples_are_half_of_the_prefix_or_what_was_asked_for() {
    let mut setup = Setup::plain(2, 16, StopRule::Width(5.0), Rule::Mean);
    let samples = all_alike(&setup, &[9.0, 2.0]);
    assert_eq!(setup.stop(&samples).unwrap().prefix, 4);
    setup.request.min_samples = Some(9);
    assert_eq!(setup.stop(&samples).unwrap().prefix, 10);
    setup.request.min_samples = None;
    let mut unreadable = samples;
    for sample in &mut unreadable[..4] {
        *sample = Sample::failed(sample.spec.clone(), FailureKind::NoBox, "");
    }
    assert_eq!(setup.stop(&unreadable).unwrap().prefix, 8);
}

#[test]
fn confidence_needs_fewer_samples_than_certainty() {
    let needed = |stop, lead: f64| {
        let setup = Setup::plain(2, 32, stop, Rule::Mean);
        replay(&all_alike(&setup, &[1.0 + lead, 1.0]), &setup.stopping()).prefix
    };
    let confident = StopRule::Confidence(0.95);
    assert_eq!((needed(StopRule::Lossless, 6.0), needed(confident, 6.0)), (20, 8));
    assert_eq!((needed(StopRule::Lossless, 2.0), needed(confident, 2.0)), (28, 16));
    assert_eq!(needed(confident, 0.0), 32);
}

#[test]
fn a_response_that_fits_no_prompt_changes_no_stop_of_the_others() {
    let told = Overflow {
        prompt_tokens: 9000,
        limit_tokens: 4000,
        longest_response: Some(1),
        longest_response_tokens: 8000,
    };
    let fitting = Fitting { apart: [(1, told)].into(), ..Fitting::default() };
    for stop in [StopRule::Lossless, StopRule::Confidence(0.95), StopRule::Width(3.0)] {
        let without = Setup::plain(2, 32, stop, Rule::Mean);
        let alone = without.stop(&all_alike(&without, &[9.0, 2.0])).unwrap();
        let mut setup = Setup::plain(3, 32, stop, Rule::Mean);
        setup.plan = plan_fitting(&setup.request, &fitting);
        let stopped = setup.stop(&all_alike(&setup, &[9.0, f64::NAN, 2.0]));
        assert_eq!(stopped, Some(alone), "{stop:?}");
    }
    // One response is left, and a single one has no pick.
    let setup = Setup::plain(2, 8, StopRule::Lossless, Rule::Mean);
    let plan = plan_fitting(&setup.request, &fitting);
    let setup = Setup { plan, ..setup };
    assert_eq!(setup.stop(&all_alike(&setup, &[9.0, f64::NAN])), None);
}

#[test]
fn panels_stop_losslessly_and_never_by_confidence() {
    let settings = Settings { k: 32, max_panel: 2, ..Settings::default() };
    let of = |stop| {
        let voting = Voting { stop, ..Voting::default() };
        let setup = Setup::new(4, settings.clone(), voting, Rule::Mean);
        let samples = all_alike(&setup, &[10.0, 1.0, 1.0, 1.0]);
        replay(&samples, &setup.stopping()).prefix
    };
    assert_eq!((of(StopRule::Lossless), of(StopRule::Confidence(0.9))), (18, 32));
}
