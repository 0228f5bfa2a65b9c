//! Every table of scores of small plans.

use super::*;
use crate::domain::Scale;

/// Every outcome of a sample over `n` responses on the scale 0..1.
fn outcomes(n: usize) -> Vec<Row> {
    let scores = tables(2, n as u32);
    scores.map(|row| Some(row.iter().map(|&score| score as f64).collect())).chain([None]).collect()
}

/// Over two responses.
fn setup(k: u32, refill: u32, rule: Rule) -> Setup {
    setup_of(2, k, refill, rule)
}

fn setup_of(n: usize, k: u32, refill: u32, rule: Rule) -> Setup {
    let settings = Settings { k, scale: Scale::BINARY, ..Settings::default() };
    let voting = Voting { stop: StopRule::Lossless, refill, ..Voting::default() };
    Setup::new(n, settings, voting, rule)
}

/// Every way to choose `len` times among `n`.
fn tables(n: usize, len: u32) -> impl Iterator<Item = Vec<usize>> {
    (0..n.pow(len)).map(move |code| (0..len).map(|place| code / n.pow(place) % n).collect())
}

fn permutations(of: &[f64]) -> Vec<Vec<f64>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, &first) in of.iter().enumerate() {
        let rest: Vec<f64> = [&of[..at], &of[at + 1..]].concat();
        all.extend(permutations(&rest).into_iter().map(|rest| [vec![first], rest].concat()));
    }
    all
}

/// One in 72 of the orders of six meta scores.
fn some_permutations() -> Vec<Vec<f64>> {
    permutations(&[-1.5, -1.0, -0.5, 0.0, 1.0, 2.0]).into_iter().step_by(72).collect()
}

/// The samples that a coordinator would draw: one spare sample for each that gave no scores.
fn drawn(setup: &Setup, all: &[Sample]) -> Vec<Sample> {
    let k = setup.plan.samples.len();
    let mut n_drawn = k;
    loop {
        let n_failed = all[..n_drawn].iter().filter(|sample| sample.scores().is_none()).count();
        let wanted = k + n_failed.min(setup.plan.spares.len());
        if wanted == n_drawn {
            return all[..n_drawn].to_vec();
        }
        n_drawn = wanted;
    }
}

/// Checks every table: asserts that the rule never changed the pick, and returns how often it fired.
fn check(setup: &Setup, metas: &[Vec<f64>]) -> usize {
    let (outcomes, stopping) = (outcomes(setup.plan.duplicate_of.len()), setup.stopping());
    let block = setup.plan.block as usize;
    let n_samples = (setup.plan.samples.len() + setup.plan.spares.len()) as u32;
    let mut n_fired = 0;
    for table in tables(outcomes.len(), n_samples) {
        let rows: Vec<Row> = table.iter().map(|&which| outcomes[which].clone()).collect();
        for metas in metas {
            let samples = drawn(setup, &setup.samples(&rows, metas));
            for prefix in (block..setup.plan.samples.len()).step_by(block) {
                let seen = &samples[..prefix];
                if stopping.fires_after(seen).is_some() {
                    n_fired += 1;
                    assert_eq!(setup.pick(seen), setup.pick(&samples), "{rows:?} {metas:?}");
                }
            }
        }
    }
    n_fired
}

#[test]
fn no_completion_changes_the_pick_of_a_plain_vote_or_a_majority() {
    for rule in [Rule::Mean, Rule::Majority] {
        assert!(check(&setup(6, 0, rule), &[vec![0.0; 6]]) > 0, "{rule:?}");
    }
}

#[test]
fn no_spare_sample_changes_the_pick() {
    assert!(check(&setup(6, 1, Rule::Mean), &[vec![0.0; 7]]) > 0);
}

#[test]
fn no_completion_changes_the_pick_of_the_best_by_meta_score() {
    let metas = some_permutations();
    for k_meta in [2, 4, 5, 6] {
        let n_fired = check(&setup(6, 0, Rule::Top { k_meta }), &metas);
        // The two remaining samples may be the best two, and two others must outweigh them.
        assert_eq!(n_fired > 0, k_meta > 4, "{k_meta}");
    }
}

/// Four samples, with every order of their meta scores. With two responses, half of the samples would still be to come
/// when a rule may fire, which is always too many; with three, only one is.
#[test]
fn no_order_of_meta_scores_changes_the_pick_of_the_best_of_four() {
    let metas = permutations(&[-1.5, -0.5, 0.0, 1.0]);
    assert_eq!(metas.len(), 24);
    for k_meta in 1..=4 {
        let n_fired = check(&setup_of(3, 4, 0, Rule::Top { k_meta }), &metas);
        assert_eq!(n_fired > 0, k_meta > 2, "{k_meta}");
    }
}

#[test]
fn no_completion_changes_the_pick_of_a_weighted_vote() {
    let calibration = Calibration { slope: 3.0, intercept: 2.0 };
    assert!(check(&setup(6, 0, Rule::Weighted(calibration)), &some_permutations()) > 0);
}

/// For a plain vote the bound is tight: where it does not fire, some completion changes the pick or ties with it.
#[test]
fn a_plain_vote_stops_as_soon_as_it_may() {
    let setup = setup(6, 0, Rule::Mean);
    let (outcomes, stopping) = (outcomes(2), setup.stopping());
    for prefix in [2u32, 4] {
        for seen in tables(outcomes.len(), prefix) {
            let rows = |rest: &[usize]| -> Vec<Row> {
                seen.iter().chain(rest).map(|&which| outcomes[which].clone()).collect()
            };
            let seen_samples = setup.samples(&rows(&[]), &[0.0; 6]);
            let n_valid = seen_samples.iter().filter(|s| s.scores().is_some()).count();
            if n_valid * 2 < prefix as usize {
                continue;
            }
            let pick = setup.pick(&seen_samples);
            let is_kept = tables(outcomes.len(), 6 - prefix).all(|rest| {
                let all = setup.samples(&rows(&rest), &[0.0; 6]);
                let rewards = setup.rewards(&all);
                setup.pick(&all) == pick && rewards[0] != rewards[1]
            });
            assert_eq!(stopping.fires_after(&seen_samples).is_some(), is_kept, "{seen:?}");
        }
    }
}
