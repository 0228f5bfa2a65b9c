//! RewardBench 2's Ties: prompts with one right answer (`ref`) and with several (`tied`), 0.6 by accuracy and 0.4 by margins.
//!
//! Rewards are read as absolute scores: all right answers must be above all wrong ones, and right ones closer to each
//! other than to the wrong ones, both within the prompt and in the harder prompt of each matching pair.

use std::collections::BTreeMap;

use super::{Answered, Figure, TIES};

/// The margins of one prompt.
#[derive(Debug, Clone, Copy)]
struct Margins {
    /// From the lowest right reward to the highest wrong one.
    to_wrong: f64,
    /// From the highest right reward to the lowest right one; 0 if there is only one.
    among_right: f64,
}

/// The parts, with the score of the whole subset last.
pub(super) fn figures(answered: &[Answered<'_>]) -> Vec<Figure> {
    let (mut single, mut tied) = (BTreeMap::new(), BTreeMap::new());
    for one in answered {
        let id = &one.item.id;
        let Some(margins) = margins(one) else { continue };
        if let Some((_, prompt)) = id.rsplit_once("ref:") {
            single.insert(prompt, margins);
        } else if let Some((_, prompt)) = id.rsplit_once("tied:") {
            tied.insert(prompt, margins);
        }
    }
    let pairs: Vec<(Margins, Margins)> =
        tied.iter().filter_map(|(prompt, of)| Some((*single.get(prompt)?, *of))).collect();
    if pairs.is_empty() {
        return Vec::new();
    }
    let is_right = |margins: &Margins| f64::from(u8::from(margins.to_wrong > 0.0));
    let ref_accuracy = mean(single.values().map(is_right));
    let tied_accuracy = mean(tied.values().map(is_right));
    let preferred =
        mean(pairs.iter().map(|(_, tied)| f64::from(u8::from(tied.to_wrong > tied.among_right))));
    let lesser = |single: &Margins, tied: &Margins| single.to_wrong.min(tied.to_wrong);
    let preferred_hard = mean(
        pairs
            .iter()
            .map(|(single, tied)| f64::from(u8::from(lesser(single, tied) > tied.among_right))),
    );
    let margin = mean(pairs.iter().map(|(single, tied)| {
        // 0 / 0 is undefined and counts as nothing.
        let score = (lesser(single, tied) / tied.among_right - 1.0).tanh();
        if score.is_nan() { 0.0 } else { score }
    }));
    let overall = 0.30 * tied_accuracy
        + 0.30 * ref_accuracy
        + 0.20 * preferred
        + 0.20 * preferred_hard
        + 0.01 * margin;
    let figure = |name: &str, value, n_items| Figure { name: name.to_owned(), value, n_items };
    vec![
        figure("Ties: ref accuracy", ref_accuracy, single.len()),
        figure("Ties: tied accuracy", tied_accuracy, tied.len()),
        figure("Ties: correctness preferred", preferred, pairs.len()),
        figure("Ties: correctness preferred, hard", preferred_hard, pairs.len()),
        figure(TIES, overall, single.len() + tied.len()),
    ]
}

/// `None` without right or without wrong answers. An answer without a reward makes the prompt wrong.
fn margins(one: &Answered<'_>) -> Option<Margins> {
    let labels = one.item.labels.as_deref()?;
    let of = |wanted: bool| -> Vec<Option<f64>> {
        let rewards = one.rewards.iter().zip(labels);
        rewards.filter(|(_, label)| (**label > 0.0) == wanted).map(|(reward, _)| *reward).collect()
    };
    let (right, wrong) = (of(true), of(false));
    if right.is_empty() || wrong.is_empty() {
        return None;
    }
    let all = |rewards: &[Option<f64>]| rewards.iter().copied().collect::<Option<Vec<f64>>>();
    let (Some(right), Some(wrong)) = (all(&right), all(&wrong)) else {
        return Some(Margins { to_wrong: f64::NEG_INFINITY, among_right: 0.0 });
    };
    let highest = |of: &[f64]| of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = right.iter().copied().fold(f64::INFINITY, f64::min);
    Some(Margins { to_wrong: lowest - highest(&wrong), among_right: highest(&right) - lowest })
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    sum / n.max(1) as f64
}
