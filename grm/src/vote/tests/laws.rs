//! Properties that every vote rule has, and those that distinguish them.

use super::*;

fn with(rule: Rule, duplicate_of: &[usize], samples: &[Sample]) -> Ballot {
    super::super::vote(duplicate_of, samples, rule)
}

/// The paper's vector, with meta scores that rank its second and third sample first.
fn papers_vector() -> Vec<Sample> {
    vec![
        ranked(-1.0, sample(0, &[0, 1], &[8.0, 8.0])),
        ranked(0.5, sample(1, &[1, 0], &[9.0, 5.0])),
        ranked(2.0, sample(2, &[1, 0], &[10.0, 7.0])),
    ]
}

#[test]
fn the_samples_with_the_highest_meta_scores_vote() {
    let ballot = with(Rule::Top { k_meta: 2 }, &[0, 1], &papers_vector());
    assert_eq!(ballot.rewards, [Some(12.0 / 2.0), Some(19.0 / 2.0)]);
    assert_eq!((ballot.voters, ballot.agreement), (vec![1, 2], Some(1.0)));
    let best = with(Rule::Top { k_meta: 1 }, &[0, 1], &papers_vector());
    assert_eq!((best.rewards, best.voters), (vec![Some(7.0), Some(10.0)], vec![2]));
}

#[test]
fn of_equal_meta_scores_the_lowest_index_votes() {
    let samples: Vec<Sample> = (0..4)
        .rev()
        .map(|index| ranked(0.5, sample(index, &[0, 1], &[f64::from(index) + 1.0, 1.0])))
        .collect();
    assert_eq!(with(Rule::Top { k_meta: 2 }, &[0, 1], &samples).voters, [0, 1]);
}

#[test]
fn a_majority_counts_preferences_and_splits_equals() {
    let ballot = with(Rule::Majority, &[0, 1], &papers_vector());
    assert_eq!(ballot.rewards, [Some(0.5 / 3.0), Some(2.5 / 3.0)]);
    assert_eq!((ballot.pick, ballot.agreement), (Some(1), ballot.rewards[1]));

    // One clear sample for the first response outweighs two narrow ones in the mean, not in the majority.
    let narrow = |index| sample(index, &[0, 1], &[5.0, 6.0]);
    let samples = [sample(0, &[0, 1], &[10.0, 1.0]), narrow(1), narrow(2)];
    assert_eq!(with(Rule::Mean, &[0, 1], &samples).pick, Some(0));
    assert_eq!(with(Rule::Majority, &[0, 1], &samples).pick, Some(1));
}

#[test]
fn thirds_of_votes_add_up_to_whole_ones() {
    let mut samples: Vec<Sample> =
        (0..3).map(|i| sample(i, &[0, 1, 2], &[4.0, 4.0, 4.0])).collect();
    samples.extend((3..6).map(|i| sample(i, &[2, 1, 0], &[1.0, 9.0, 9.0])));
    samples.push(sample(6, &[0, 1, 2], &[1.0, 1.0, 8.0]));
    samples.push(sample(7, &[0, 1, 2], &[1.0, 5.0, 5.0]));
    let ballot = with(Rule::Majority, &[0, 1, 2], &samples);
    assert_eq!(ballot.rewards, [Some(2.5 / 8.0), Some(3.0 / 8.0), Some(2.5 / 8.0)]);
}

#[test]
fn a_response_with_a_copy_loses_no_vote_to_it() {
    let for_first = |index| sample(index, &[0, 1], &[9.0, 2.0]);
    let for_other = |index| sample(index, &[0, 1], &[2.0, 9.0]);
    let samples = [for_first(0), for_first(1), for_first(2), for_other(3), for_other(4)];
    let ballot = with(Rule::Majority, &[0, 1, 0], &samples);
    assert_eq!(ballot.rewards, [Some(0.6), Some(0.4), Some(0.6)]);
    assert_eq!((ballot.pick, ballot.tied), (Some(0), vec![0, 2]));
}

#[test]
fn a_majority_takes_no_vote_from_a_sample_that_compared_nothing() {
    let samples =
        [sample(0, &[2, 0], &[9.0, 2.0]), sample(1, &[1], &[1.0]), sample(2, &[0], &[3.0])];
    let ballot = with(Rule::Majority, &[0, 1, 2], &samples);
    assert_eq!(ballot.rewards, [Some(0.0), None, Some(1.0)]);
    assert_eq!((ballot.pick, ballot.voters), (Some(2), vec![0]));
    let alone = with(Rule::Majority, &[0, 1, 2], &samples[1..]);
    assert_eq!((alone.rewards, alone.pick), (vec![None; 3], None));
    assert_eq!(with(Rule::Mean, &[0, 1, 2], &samples).rewards[1], Some(1.0), "a score is one");
    // Copies of one text are equally good, whatever the score.
    let copies = with(Rule::Majority, &[0, 0], &samples[2..]);
    assert_eq!(copies.rewards, [Some(0.5), Some(0.5)]);
    assert_eq!(with(Rule::Majority, &[0], &samples[2..]).rewards, [Some(1.0)]);
}

#[test]
fn weights_are_calibrated_probabilities() {
    // Log odds of 3/4 and 1/4, after a calibration that doubles logits.
    let log_odds = 3.0_f64.ln();
    let samples = [
        ranked(log_odds / 2.0, sample(0, &[0, 1], &[8.0, 4.0])),
        ranked(-log_odds / 2.0, sample(1, &[1, 0], &[8.0, 4.0])),
    ];
    let calibration = Calibration { slope: 2.0, intercept: 0.0 };
    let ballot = with(Rule::Weighted(calibration), &[0, 1], &samples);
    let close = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
    close(ballot.weights[0], 0.75);
    close(ballot.weights[1], 0.25);
    close(ballot.rewards[0].unwrap(), 0.75 * 8.0 + 0.25 * 4.0);
    close(ballot.rewards[1].unwrap(), 0.75 * 4.0 + 0.25 * 8.0);
    close(ballot.agreement.unwrap(), 0.75);
}

#[test]
fn hopeless_meta_scores_still_give_rewards() {
    let samples = [
        ranked(-1e5, sample(0, &[0, 1], &[8.0, 4.0])),
        ranked(-2e5, sample(1, &[1, 0], &[8.0, 4.0])),
    ];
    let ballot = with(Rule::Weighted(Calibration::default()), &[0, 1], &samples);
    assert_eq!((ballot.rewards, ballot.weights), (vec![Some(8.0), Some(4.0)], vec![1.0, 0.0]));
}

#[test]
fn one_unranked_sample_lets_all_vote() {
    for meta_score in [None, Some(f64::NAN)] {
        let mut samples = papers_vector();
        samples[1].meta_score = meta_score;
        for rule in [Rule::Top { k_meta: 1 }, Rule::Weighted(Calibration::default())] {
            let ballot = with(rule, &[0, 1], &samples);
            assert_eq!(ballot, with(Rule::Mean, &[0, 1], &samples));
            assert_eq!(ballot.rule, Rule::Mean);
        }
    }
    let mut samples = papers_vector();
    samples.push(failed(3));
    let ballot = with(Rule::Top { k_meta: 1 }, &[0, 1], &samples);
    assert_eq!(ballot.rule, Rule::Top { k_meta: 1 }, "a failed sample needs no rank");
}

fn ranked_samples_of(n: usize) -> impl Strategy<Value = Vec<Sample>> {
    // Few distinct meta scores, so that ties are common.
    let metas = prop::collection::vec(-3i8..4, 12);
    (samples_of(n), metas).prop_map(|(samples, metas)| {
        let pairs = samples.into_iter().zip(metas);
        pairs.map(|(sample, meta)| ranked(f64::from(meta) / 2.0, sample)).collect()
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::Mean),
        (1u32..14).prop_map(|k_meta| Rule::Top { k_meta }),
        Just(Rule::Majority),
        (0.1..3.0f64, -2.0..2.0f64)
            .prop_map(|(slope, intercept)| Rule::Weighted(Calibration { slope, intercept })),
    ]
}

fn with_scores(samples: &[Sample], change: impl Fn(f64) -> f64) -> Vec<Sample> {
    let mut changed = samples.to_vec();
    for sample in &mut changed {
        if let Outcome::Scored(scores) = &mut sample.outcome {
            scores.scores.iter_mut().for_each(|score| *score = change(*score));
        }
    }
    changed
}

proptest! {
    #[test]
    fn no_rule_depends_on_arrival_order(
        samples in ranked_samples_of(3), rule in any_rule(), at in any::<prop::sample::Index>(),
    ) {
        let mut arrived = samples.clone();
        arrived.rotate_left(at.index(samples.len()));
        arrived.reverse();
        prop_assert_eq!(with(rule, &[0, 1, 2], &arrived), with(rule, &[0, 1, 2], &samples));
    }

    #[test]
    fn duplicates_share_their_reward(samples in ranked_samples_of(3), rule in any_rule()) {
        let ballot = with(rule, &[0, 1, 2, 1, 0], &samples);
        prop_assert_eq!(ballot.rewards[3], ballot.rewards[1]);
        prop_assert_eq!(ballot.rewards[4], ballot.rewards[0]);
        let distinct = with(rule, &[0, 1, 2], &samples);
        prop_assert_eq!(&ballot.rewards[..3], &distinct.rewards[..]);
        prop_assert_eq!(ballot.pick, distinct.pick);
    }

    #[test]
    fn another_scale_changes_no_pick(samples in ranked_samples_of(3), rule in any_rule()) {
        // A power of two, so that rounding does not change.
        let scaled = with_scores(&samples, |score| score * 8.0);
        let (plain, scaled) = (with(rule, &[0, 1, 2], &samples), with(rule, &[0, 1, 2], &scaled));
        prop_assert_eq!((plain.pick, plain.tied), (scaled.pick, scaled.tied));
        prop_assert_eq!(plain.agreement, scaled.agreement);
    }

    #[test]
    fn shifted_scores_shift_rewards(samples in ranked_samples_of(2), rule in any_rule()) {
        let shifted = with(rule, &[0, 1], &with_scores(&samples, |score| score + 2.0));
        let by = if rule == Rule::Majority { 0.0 } else { 2.0 };
        for (reward, shifted) in with(rule, &[0, 1], &samples).rewards.iter().zip(shifted.rewards) {
            prop_assert_eq!(reward.is_some(), shifted.is_some());
            let difference = shifted.unwrap_or(0.0) - reward.map_or(0.0, |reward| reward + by);
            prop_assert!(difference.abs() < 1e-9);
        }
    }

    #[test]
    fn all_as_voters_is_the_plain_vote(samples in ranked_samples_of(3), more in 0u32..3) {
        let rule = Rule::Top { k_meta: samples.len() as u32 + more };
        let top = with(rule, &[0, 1, 2], &samples);
        prop_assert_eq!(Ballot { rule: Rule::Mean, ..top }, with(Rule::Mean, &[0, 1, 2], &samples));
    }

    #[test]
    fn equal_meta_scores_weigh_the_same(samples in samples_of(3), meta in -9.0..9.0f64) {
        let samples: Vec<Sample> = samples.into_iter().map(|s| ranked(meta, s)).collect();
        let weighted = with(Rule::Weighted(Calibration::default()), &[0, 1, 2], &samples);
        let plain = Ballot { rule: Rule::Mean, weights: Vec::new(), ..weighted };
        prop_assert_eq!(plain, with(Rule::Mean, &[0, 1, 2], &samples));
    }

    #[test]
    fn who_votes_depends_on_the_order_of_meta_scores_alone(
        samples in ranked_samples_of(2), k_meta in 1u32..14,
    ) {
        let mut monotone = samples.clone();
        for sample in &mut monotone {
            sample.meta_score = sample.meta_score.map(|meta| meta.exp() * 7.0 - 3.0);
        }
        let rule = Rule::Top { k_meta };
        prop_assert_eq!(with(rule, &[0, 1], &monotone), with(rule, &[0, 1], &samples));
    }

    #[test]
    fn voters_are_the_best_of_the_valid(samples in ranked_samples_of(2), k_meta in 1u32..14) {
        let ballot = with(Rule::Top { k_meta }, &[0, 1], &samples);
        let valid: Vec<&Sample> = samples.iter().filter(|s| s.scores().is_some()).collect();
        prop_assert_eq!(ballot.voters.len(), valid.len().min(k_meta as usize));
        let votes = |sample: &&&Sample| ballot.voters.contains(&sample.spec.index);
        let lowest = valid.iter().filter(votes).filter_map(|s| s.meta_score).fold(9.0, f64::min);
        let mut rest = valid.iter().filter(|sample| !votes(sample));
        prop_assert!(rest.all(|sample| sample.meta_score <= Some(lowest)));
    }

    #[test]
    fn shares_of_a_majority_add_up_to_one_and_are_its_agreement(samples in ranked_samples_of(4)) {
        let ballot = with(Rule::Majority, &[0, 1, 2, 3], &samples);
        if let Some(pick) = ballot.pick {
            let sum: f64 = ballot.rewards.iter().flatten().sum();
            prop_assert!((sum - 1.0).abs() < 1e-12);
            prop_assert!((ballot.agreement.unwrap() - ballot.rewards[pick].unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn weights_add_up_to_one(samples in ranked_samples_of(2), rule in any_rule()) {
        let ballot = with(rule, &[0, 1], &samples);
        if matches!(rule, Rule::Weighted(_)) && !ballot.voters.is_empty() {
            prop_assert_eq!(ballot.weights.len(), ballot.voters.len());
            prop_assert!((ballot.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        } else {
            prop_assert!(ballot.weights.is_empty());
        }
        for share in [ballot.agreement, ballot.confidence].into_iter().flatten() {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&share));
        }
    }
}
