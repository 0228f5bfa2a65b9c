//! How well a head ranks: areas under the ROC curve. Their intervals resample whole queries, because the samples of
//! one query are similar.

use std::collections::BTreeMap;

use jury_eval::stats::{Clusters, Interval, Row, auc, auc_of_clusters};
use serde::Serialize;

use super::LabelledState;

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
    /// Whether the whole interval is above 0.5.
    pub fn is_above_chance(&self) -> bool {
        self.low > 0.5
    }

    /// The whole range if nothing can be resampled, for example with a single query.
    fn new(auc: f64, interval: Option<Interval>) -> Self {
        let [low, high] = interval.unwrap_or([0.0, 1.0]);
        Self { auc, low, high }
    }
}

/// Over all rows, which must include correct and wrong ones. It measures not only whether a sample is right but also
/// whether its item is easy.
pub(super) fn interval(rows: &[&LabelledState], scores: &[f64], seed: u64) -> AucInterval {
    let scored = rows
        .iter()
        .zip(scores)
        .map(|(row, score)| (&row.query, Row { score: *score, weight: 1.0, good: row.correct }));
    match auc_of_clusters(scored, seed) {
        Some((auc, interval)) => AucInterval::new(auc, interval),
        None => AucInterval::new(0.5, None),
    }
}

/// The mean over items, each with correct and wrong rows, of the AUC among the item's own rows. The quality of
/// ranking the samples of one item depends on this. `None` if no item has both kinds.
pub(super) fn interval_within_item(
    rows: &[&LabelledState],
    scores: &[f64],
    seed: u64,
) -> Option<AucInterval> {
    let mut of_item = BTreeMap::<(&str, &str), Vec<(f64, bool)>>::new();
    for (row, score) in rows.iter().zip(scores) {
        of_item.entry((&row.query, &row.item)).or_default().push((*score, row.correct));
    }
    let areas = of_item.into_iter().filter_map(|((query, _), rows)| Some((query, auc(&rows)?)));
    let areas = Clusters::new(areas);
    Some(AucInterval::new(areas.mean()?, areas.interval(seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(query: &str, correct: bool) -> LabelledState {
        LabelledState { item: String::new(), query: query.to_owned(), state: Vec::new(), correct }
    }

    #[test]
    fn the_samples_of_one_query_do_not_pass_for_many() {
        // Both the correctness of a row and its score are determined by its query.
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
        let within = interval_within_item(&rows, &scores, 0).unwrap();
        assert_eq!((within.auc, within.low, within.high), (0.5, 0.5, 0.5));
    }
}
