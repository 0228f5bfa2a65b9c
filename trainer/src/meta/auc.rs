//! Area under the ROC curve: the probability that a correct row scores above a wrong one, equal scores counting half.
//!
//! Intervals resample whole queries, since the samples of one query are alike: 1,000 times, 2.5 % off each end.

use std::collections::BTreeMap;

use serde::Serialize;

use super::LabelledState;
use crate::random::Random;

const RESAMPLES: usize = 1000;

/// An AUC with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AucInterval {
    /// 0..=1.
    pub auc: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

// === impl AucInterval ===

impl AucInterval {
    /// Whether the interval lies above 0.5.
    pub fn is_above_chance(&self) -> bool {
        self.low > 0.5
    }
}

/// The AUC of rows that weigh `weights`; `None` without rows of both kinds.
///
/// The three run parallel.
pub fn auc(scores: &[f64], correct: &[bool], weights: &[f64]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    Sorted { order, scores, correct }.auc(weights)
}

/// Rows in the order of their scores.
struct Sorted<'a> {
    order: Vec<usize>,
    scores: &'a [f64],
    correct: &'a [bool],
}

// === impl Sorted ===

impl Sorted<'_> {
    fn auc(&self, weights: &[f64]) -> Option<f64> {
        let (mut wins, mut n_correct, mut n_wrong) = (0.0, 0.0, 0.0);
        for equals in self.order.chunk_by(|&a, &b| self.scores[a] == self.scores[b]) {
            let weigh = |wanted: bool| -> f64 {
                let of_kind = equals.iter().filter(|&&row| self.correct[row] == wanted);
                of_kind.map(|&row| weights[row]).sum()
            };
            let (correct, wrong) = (weigh(true), weigh(false));
            wins += correct * (n_wrong + wrong / 2.0);
            n_correct += correct;
            n_wrong += wrong;
        }
        (n_correct > 0.0 && n_wrong > 0.0).then(|| wins / (n_correct * n_wrong))
    }
}

/// Over all rows, which have both kinds: whether a sample is right, and also whether its item is easy.
pub(super) fn interval(rows: &[&LabelledState], scores: &[f64], seed: u64) -> AucInterval {
    let correct: Vec<bool> = rows.iter().map(|row| row.correct).collect();
    let clusters = by_query(rows);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let sorted = Sorted { order, scores, correct: &correct };
    let found = sorted.auc(&vec![1.0; rows.len()]).unwrap_or(0.5);
    bootstrap(found, clusters.len(), seed, |drawn| {
        let mut weights = vec![0.0; rows.len()];
        for &cluster in drawn {
            clusters[cluster].iter().for_each(|&row| weights[row] += 1.0);
        }
        sorted.auc(&weights)
    })
}

/// The mean over queries with rows of both kinds of the AUC among their own rows: what ranking the samples of one item rests
/// on. `None` where no query has both.
pub(super) fn interval_within_query(
    rows: &[&LabelledState],
    scores: &[f64],
    seed: u64,
) -> Option<AucInterval> {
    let of_query = |rows_of: Vec<usize>| {
        let scores: Vec<f64> = rows_of.iter().map(|&row| scores[row]).collect();
        let correct: Vec<bool> = rows_of.iter().map(|&row| rows[row].correct).collect();
        auc(&scores, &correct, &vec![1.0; scores.len()])
    };
    let each: Vec<f64> = by_query(rows).into_iter().filter_map(of_query).collect();
    let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n as f64;
    (!each.is_empty()).then(|| {
        let found = mean(&mut each.iter().copied(), each.len());
        bootstrap(found, each.len(), seed, |drawn| {
            Some(mean(&mut drawn.iter().map(|&query| each[query]), drawn.len()))
        })
    })
}

/// Rows by query, in the order of the keys.
fn by_query(rows: &[&LabelledState]) -> Vec<Vec<usize>> {
    let mut clusters: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        clusters.entry(&row.query).or_default().push(index);
    }
    clusters.into_values().collect()
}

/// Draws `n` clusters with replacement, again and again; draws without a value do not count.
fn bootstrap(
    auc: f64,
    n: usize,
    seed: u64,
    mut value: impl FnMut(&[usize]) -> Option<f64>,
) -> AucInterval {
    let mut random = Random::new(seed, "bootstrap");
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let drawn: Vec<usize> = (0..n).map(|_| random.below(n)).collect();
        values.extend(value(&drawn));
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * values.len().saturating_sub(1) as f64).round() as usize;
        values.get(place).copied().unwrap_or(auc)
    };
    AucInterval { auc, low: at(0.025), high: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(query: &str, correct: bool) -> LabelledState {
        LabelledState { item: String::new(), query: query.to_owned(), state: Vec::new(), correct }
    }

    #[test]
    fn it_counts_pairs_and_halves_of_equals() {
        let equal = [1.0; 4];
        let correct = [false, true, false, true];
        assert_eq!(auc(&[1.0, 2.0, 3.0, 4.0], &correct, &equal), Some(0.75));
        assert_eq!(auc(&[1.0, 1.0, 1.0, 1.0], &correct, &equal), Some(0.5));
        assert_eq!(auc(&[4.0, 1.0, 4.0, 1.0], &correct, &equal), Some(0.0));
        assert_eq!(auc(&[1.0, 2.0], &[true, true], &[1.0, 1.0]), None);
        // As if the third row stood there three times.
        let weighted = auc(&[1.0, 2.0, 3.0, 4.0], &correct, &[1.0, 1.0, 3.0, 1.0]);
        assert_eq!(weighted, Some((1.0 + 4.0) / 8.0));
    }

    #[test]
    fn the_samples_of_one_query_do_not_pass_for_many() {
        // Whether a row is right and how it scores are both the query's doing.
        let rows: Vec<LabelledState> = (0..10)
            .flat_map(|query| (0..50).map(move |_| row(&query.to_string(), query % 2 == 0)))
            .collect();
        let rows: Vec<&LabelledState> = rows.iter().collect();
        let scores: Vec<f64> =
            (0..500).map(|index| [3, 5, 2, 9, 8, 1, 7, 0, 6, 4][index / 50].into()).collect();
        let clustered = interval(&rows, &scores, 1);
        let lonely: Vec<LabelledState> = rows
            .iter()
            .enumerate()
            .map(|(index, of)| row(&index.to_string(), of.correct))
            .collect();
        let alone = interval(&lonely.iter().collect::<Vec<_>>(), &scores, 1);
        assert_eq!(clustered.auc, alone.auc);
        let width = |interval: AucInterval| interval.high - interval.low;
        assert!(width(clustered) > 3.0 * width(alone), "{clustered:?} {alone:?}");
        assert!(clustered.low <= clustered.auc && clustered.auc <= clustered.high);
    }

    #[test]
    fn what_only_tells_easy_queries_apart_ranks_nothing_within_one() {
        let mut rows = Vec::new();
        let mut scores = Vec::new();
        for query in 0..20 {
            for sample in 0..4 {
                let is_easy = query % 2 == 0;
                rows.push(row(&query.to_string(), if is_easy { sample > 0 } else { sample == 0 }));
                scores.push(f64::from(is_easy));
            }
        }
        let rows: Vec<&LabelledState> = rows.iter().collect();
        assert!(interval(&rows, &scores, 0).is_above_chance());
        let within = interval_within_query(&rows, &scores, 0).unwrap();
        assert_eq!((within.auc, within.low, within.high), (0.5, 0.5, 0.5));
    }
}
