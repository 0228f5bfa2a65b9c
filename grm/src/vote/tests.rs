use proptest::prelude::*;

use super::*;
use crate::domain::{Counts, FailureKind, Finish, Outcome, SampleSpec, Scores};

mod laws;

/// Votes by the rule that most of these tests are about.
fn vote(duplicate_of: &[usize], samples: &[Sample]) -> Ballot {
    super::vote(duplicate_of, samples, Rule::Mean)
}

fn ranked(meta_score: f64, sample: Sample) -> Sample {
    Sample { meta_score: Some(meta_score), ..sample }
}

pub fn sample(index: u32, order: &[usize], scores: &[f64]) -> Sample {
    let spec = SampleSpec { index, seed: 31 * u64::from(index), order: order.to_vec() };
    Sample {
        outcome: Outcome::Scored(Scores {
            scores: scores.to_vec(),
            score_distribution: None,
            readout_mass: None,
            forced: false,
        }),
        finish: Finish::Box,
        ..Sample::failed(spec, FailureKind::NoBox, "")
    }
}

fn failed(index: u32) -> Sample {
    let spec = SampleSpec { index, seed: 0, order: vec![0, 1] };
    Sample::failed(spec, FailureKind::NoBox, "no box")
}

#[test]
fn the_papers_vector_sums_to_20_and_27() {
    let samples = [
        sample(0, &[0, 1], &[8.0, 8.0]),
        sample(1, &[1, 0], &[9.0, 5.0]),
        sample(2, &[1, 0], &[10.0, 7.0]),
    ];
    let ballot = vote(&[0, 1], &samples);
    assert_eq!(ballot.rewards, [Some(20.0 / 3.0), Some(27.0 / 3.0)]);
    assert_eq!(ballot.pick, Some(1));
    assert_eq!(ballot.agreement, Some((0.5 + 1.0 + 1.0) / 3.0));
}

#[test]
fn the_papers_vector_weighted_by_a_quarter_a_half_and_three_quarters() {
    let samples = [
        ranked(-3.0_f64.ln(), sample(0, &[0, 1], &[8.0, 8.0])),
        ranked(0.0, sample(1, &[1, 0], &[9.0, 5.0])),
        ranked(3.0_f64.ln(), sample(2, &[1, 0], &[10.0, 7.0])),
    ];
    let ballot = super::vote(&[0, 1], &samples, Rule::Weighted(Calibration::default()));
    let rewards: Vec<f64> = ballot.rewards.iter().flatten().copied().collect();
    // (8/4 + 5/2 + 7 x 3/4) / (3/2), and (8/4 + 9/2 + 10 x 3/4) / (3/2).
    for (is, expected) in rewards.iter().zip([13.0 / 2.0, 28.0 / 3.0]) {
        assert!((is - expected).abs() < 1e-12, "{rewards:?}");
    }
    for (is, expected) in ballot.weights.iter().zip([1.0 / 6.0, 1.0 / 3.0, 1.0 / 2.0]) {
        assert!((is - expected).abs() < 1e-12, "{:?}", ballot.weights);
    }
    assert_eq!((rewards.len(), ballot.weights.len(), ballot.pick), (2, 3, Some(1)));
}

#[test]
fn a_tie_goes_to_the_lowest_index_and_is_listed() {
    let samples = [sample(0, &[0, 1, 2], &[3.0, 7.0, 7.0])];
    let ballot = vote(&[0, 1, 2], &samples);
    assert_eq!((ballot.pick, ballot.tied), (Some(1), vec![1, 2]));
    assert_eq!(ballot.agreement, Some(0.5));
}

#[test]
fn a_failed_sample_is_no_zero() {
    let samples = [sample(0, &[0, 1], &[8.0, 4.0]), failed(1)];
    let ballot = vote(&[0, 1], &samples);
    assert_eq!(ballot.rewards, [Some(8.0), Some(4.0)]);
    assert_eq!(ballot.voters, [0]);
}

#[test]
fn without_a_valid_sample_there_is_no_reward_and_no_pick() {
    assert_eq!(vote(&[0, 1], &[failed(0), failed(1)]), Ballot::none(2, Rule::Mean));
}

#[test]
fn samples_that_compare_nothing_agree_on_nothing() {
    let alone = [sample(0, &[0], &[6.0]), sample(1, &[1], &[4.0])];
    let ballot = vote(&[0, 1], &alone);
    assert_eq!((ballot.pick, ballot.agreement), (Some(0), None));
    let compared = [&alone[..], &[sample(2, &[1, 0], &[3.0, 5.0])]].concat();
    assert_eq!(vote(&[0, 1], &compared).agreement, Some(1.0));
}

#[test]
fn a_single_response_has_a_reward_and_no_pick() {
    let ballot = vote(&[0], &[sample(0, &[0], &[6.0])]);
    assert_eq!((ballot.rewards, ballot.pick), (vec![Some(6.0)], None));
    assert_eq!((ballot.agreement, ballot.confidence), (None, None));
}

#[test]
fn identical_responses_share_reward_and_tie() {
    let samples = [sample(0, &[0, 1], &[8.0, 2.0]), sample(1, &[1, 0], &[3.0, 9.0])];
    let ballot = vote(&[0, 1, 0], &samples);
    assert_eq!(ballot.rewards, [Some(8.5), Some(2.5), Some(8.5)]);
    assert_eq!((ballot.pick, ballot.tied), (Some(0), vec![0, 2]));
    assert_eq!((ballot.agreement, ballot.confidence), (Some(0.5), Some(0.5)));
}

#[test]
fn a_panel_votes_only_on_what_it_showed() {
    let samples = [sample(0, &[0, 1], &[8.0, 2.0]), sample(1, &[2], &[9.0])];
    let ballot = vote(&[0, 1, 2, 3], &samples);
    assert_eq!(ballot.rewards, [Some(8.0), Some(2.0), Some(9.0), None]);
    assert_eq!(ballot.agreement, None, "the pick was compared with nothing");
}

#[test]
fn an_even_split_is_less_sure_than_a_landslide() {
    let split: Vec<Sample> = (0..8)
        .map(|i| sample(i, &[0, 1], if i % 2 == 0 { &[9.0, 2.0] } else { &[3.0, 9.0] }))
        .collect();
    let landslide: Vec<Sample> = (0..8).map(|i| sample(i, &[0, 1], &[9.0, 2.0])).collect();
    let sure = |samples: &[Sample]| vote(&[0, 1], samples).confidence.unwrap();
    assert_eq!(sure(&landslide), 1.0);
    assert!(sure(&split) < 0.9, "{}", sure(&split));
}

/// The pick among equals is the lowest index only because something has to decide: its confidence must say so.
#[test]
fn a_tie_of_all_responses_splits_confidence_and_agreement() {
    let same = [sample(0, &[0, 1], &[5.0, 5.0]), sample(1, &[1, 0], &[7.0, 7.0])];
    let ballot = vote(&[0, 1], &same);
    assert_eq!((ballot.agreement, ballot.confidence), (Some(0.5), Some(0.5)));
    let identical = [sample(0, &[0], &[5.0]), sample(1, &[0], &[7.0])];
    let ballot = vote(&[0, 0, 0, 0], &identical);
    assert_eq!((ballot.agreement, ballot.confidence), (Some(0.25), Some(0.25)));
}

#[test]
fn one_sample_has_no_confidence() {
    let ballot = vote(&[0, 1], &[sample(0, &[0, 1], &[9.0, 2.0])]);
    assert_eq!((ballot.pick, ballot.agreement, ballot.confidence), (Some(0), Some(1.0), None));
    let panels = [sample(0, &[0, 1], &[9.0, 2.0]), sample(1, &[2], &[3.0])];
    assert_eq!(vote(&[0, 1, 2], &panels).confidence, None, "one alone showed the pick");
}

#[test]
fn confidence_is_of_the_means_and_agreement_of_the_preferences() {
    // Six clear votes against two narrow ones: only a freak resample changes which mean is higher.
    let samples: Vec<Sample> =
        (0..8).map(|i| sample(i, &[0, 1], if i < 6 { &[9.0, 5.0] } else { &[5.0, 5.5] })).collect();
    let ballot = vote(&[0, 1], &samples);
    assert_eq!(ballot.agreement, Some(0.75));
    assert!(ballot.confidence.unwrap() > 0.99, "{:?}", ballot.confidence);
}

fn samples_of(n: usize) -> impl Strategy<Value = Vec<Sample>> {
    let one = (
        Just((0..n).collect::<Vec<usize>>()).prop_shuffle(),
        prop::collection::vec(1u8..=10, n),
        0u8..5,
    );
    prop::collection::vec(one, 1..12).prop_map(|drawn| {
        drawn
            .into_iter()
            .enumerate()
            .map(|(index, (order, scores, fate))| {
                let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
                let whole = sample(index as u32, &order, &scores);
                if fate == 0 { Sample::failed(whole.spec, FailureKind::NoBox, "") } else { whole }
            })
            .collect()
    })
}

/// The bootstrap in its most obvious form. Its numbers are part of every verdict ever given.
fn plain_bootstrap(duplicate_of: &[usize], samples: &[Sample], picked: usize) -> f64 {
    let votes = votes(duplicate_of, samples, Rule::Mean);
    let seed = votes.iter().fold(0, |seed, vote| seed ^ vote.seed.rotate_left(vote.index % 64));
    let mut random = crate::random::SplitMix64::new(seed);
    let shares = (0..1000).map(|_| {
        let drawn: Vec<Vote<'_>> =
            votes.iter().map(|_| votes[random.below(votes.len())].clone()).collect();
        let mut sums = vec![(0.0, 0_u32); duplicate_of.len()];
        for vote in &drawn {
            for (&response, &score) in vote.order.iter().zip(&*vote.values) {
                sums[response].0 += score;
                sums[response].1 += 1;
            }
        }
        let mean = |&distinct: &usize| {
            (sums[distinct].1 > 0).then(|| sums[distinct].0 / f64::from(sums[distinct].1))
        };
        let rewards: Vec<Option<f64>> = duplicate_of.iter().map(mean).collect();
        let best = rewards.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let n_best = rewards.iter().filter(|reward| **reward == Some(best)).count();
        if rewards[picked] == Some(best) { 1.0 / n_best as f64 } else { 0.0 }
    });
    shares.sum::<f64>() / 1000.0
}

#[test]
fn confidences_are_those_of_verdicts_given_before() {
    let expected_scores = |i: u32| [f64::from(i * 7 % 10) + 0.31, f64::from(i * 3 % 10) + 0.77];
    let samples: Vec<Sample> = (0..12).map(|i| sample(i, &[0, 1], &expected_scores(i))).collect();
    let ballot = vote(&[0, 1], &samples);
    assert_eq!((ballot.pick, ballot.confidence), (Some(1), Some(0.52)));
}

proptest! {
    #[test]
    fn confidence_is_that_of_a_plain_bootstrap(samples in samples_of(4)) {
        let duplicate_of = [0, 1, 1, 3];
        let ballot = vote(&duplicate_of, &samples);
        if let (Some(pick), Some(confidence)) = (ballot.pick, ballot.confidence) {
            prop_assert_eq!(confidence, plain_bootstrap(&duplicate_of, &samples, pick));
        }
    }

    #[test]
    fn the_vote_does_not_depend_on_arrival_order(
        samples in samples_of(3), shuffle in any::<prop::sample::Index>(),
    ) {
        let mut arrived = samples.clone();
        arrived.rotate_left(shuffle.index(samples.len()));
        arrived.reverse();
        prop_assert_eq!(vote(&[0, 1, 2], &arrived), vote(&[0, 1, 2], &samples));
    }

    #[test]
    fn the_vote_does_not_depend_on_where_a_response_was_shown(samples in samples_of(4)) {
        let mut moved = samples.clone();
        for sample in &mut moved {
            sample.spec.order.rotate_left(1);
            if let Outcome::Scored(scores) = &mut sample.outcome {
                scores.scores.rotate_left(1);
            }
        }
        prop_assert_eq!(vote(&[0, 1, 2, 3], &moved), vote(&[0, 1, 2, 3], &samples));
    }

    #[test]
    fn rewards_stay_on_the_scale_and_the_pick_is_the_highest(samples in samples_of(3)) {
        let ballot = vote(&[0, 1, 2], &samples);
        for reward in ballot.rewards.iter().flatten() {
            prop_assert!((1.0..=10.0).contains(reward));
        }
        if let Some(pick) = ballot.pick {
            prop_assert!(ballot.rewards.iter().all(|reward| *reward <= ballot.rewards[pick]));
            prop_assert!((0.0..=1.0).contains(&ballot.agreement.unwrap()));
            prop_assert_eq!(ballot.confidence.is_some(), ballot.voters.len() > 1);
            prop_assert!((0.0..=1.0).contains(&ballot.confidence.unwrap_or(0.5)));
        }
    }

    #[test]
    fn outcomes_add_up_to_what_was_asked(samples in samples_of(2)) {
        let ballot = vote(&[0, 1], &samples);
        let counts = Counts::of(&samples, ballot.voters.len() as u32);
        let sum = counts.valid + counts.parse_failed + counts.too_long + counts.timed_out
            + counts.failed + counts.not_needed;
        prop_assert_eq!(sum, counts.asked);
        prop_assert!(counts.voted <= counts.valid && counts.forced <= counts.valid);
    }
}
