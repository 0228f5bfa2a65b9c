//! ROC-AUC: how probable it is that a good one scores above a bad one.

use std::collections::BTreeMap;

use jury_grm::random::SplitMix64;

use super::bootstrap::{Interval, N_RESAMPLES, percentiles};

/// The area under the ROC curve: the share of (good, bad) pairs in which the good one scores
/// higher, ties half (the Mann-Whitney statistic). `None` without a good or without a bad one.
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    Ranked::new(scores).auc(|_| 1.0)
}

/// The area and its 95 % interval by a bootstrap of whole clusters; no interval with fewer than two of them. Resamples
/// with one kind alone say nothing and are left out.
pub fn auc_of_clusters<K: Ord>(
    scores: impl IntoIterator<Item = (K, f64, bool)>,
    seed: u64,
) -> Option<(f64, Option<Interval>)> {
    let mut clusters = BTreeMap::<K, Vec<(f64, bool)>>::new();
    for (key, score, good) in scores {
        clusters.entry(key).or_default().push((score, good));
    }
    let n = clusters.len();
    let (mut rows, mut cluster_of) = (Vec::new(), Vec::new());
    for (cluster, of_cluster) in clusters.into_values().enumerate() {
        cluster_of.extend(of_cluster.iter().map(|_| cluster));
        rows.extend(of_cluster);
    }
    // Sorted once: a resample is the same rows, each as often as its cluster was drawn.
    let ranked = Ranked::new(&rows);
    let area = ranked.auc(|_| 1.0)?;
    if n < 2 {
        return Some((area, None));
    }
    let mut random = SplitMix64::new(seed);
    let mut areas: Vec<f64> = (0..N_RESAMPLES)
        .filter_map(|_| {
            let mut times = vec![0.0; n];
            (0..n).for_each(|_| times[random.below(n)] += 1.0);
            ranked.auc(|row| times[cluster_of[row]])
        })
        .collect();
    let interval = (areas.len() > 1).then(|| percentiles(&mut areas));
    Some((area, interval))
}

/// Rows in the order of their scores.
struct Ranked<'a> {
    rows: &'a [(f64, bool)],
    order: Vec<usize>,
}

// === impl Ranked ===

impl<'a> Ranked<'a> {
    fn new(rows: &'a [(f64, bool)]) -> Self {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_unstable_by(|&a, &b| rows[a].0.total_cmp(&rows[b].0));
        Self { rows, order }
    }

    /// The area when each row stands there as often as `times` says.
    fn auc(&self, times: impl Fn(usize) -> f64) -> Option<f64> {
        let (mut wins, mut n_good, mut n_bad) = (0.0, 0.0, 0.0);
        for tied in self.order.chunk_by(|&a, &b| self.rows[a].0 == self.rows[b].0) {
            let count = |wanted: bool| -> f64 {
                let of_kind = tied.iter().filter(|&&row| self.rows[row].1 == wanted);
                of_kind.map(|&row| times(row)).sum()
            };
            let (good, bad) = (count(true), count(false));
            wins += good * (n_bad + bad / 2.0);
            n_good += good;
            n_bad += bad;
        }
        (n_good > 0.0 && n_bad > 0.0).then(|| wins / (n_good * n_bad))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_areas() {
        assert_eq!(auc(&[(1.0, false), (2.0, true)]), Some(1.0));
        assert_eq!(auc(&[(2.0, false), (1.0, true)]), Some(0.0));
        assert_eq!(auc(&[(1.0, false), (1.0, true)]), Some(0.5));
        assert_eq!(auc(&[(1.0, true)]), None);
        // 1 below, 1 tied, 1 above of three bad ones: 1.5 of 3.
        assert_eq!(auc(&[(1.0, false), (2.0, false), (3.0, false), (2.0, true)]), Some(0.5));
    }

    #[test]
    fn an_interval_surrounds_its_area() {
        let scores = (0..60).map(|i| (i, f64::from(i % 7), i % 2 == 0));
        let (area, interval) = auc_of_clusters(scores, 1).unwrap();
        let [low, high] = interval.unwrap();
        assert!(low < area && area < high);
        let one = [("q", 1.0, false), ("q", 2.0, true)];
        assert_eq!(auc_of_clusters(one, 1), Some((1.0, None)), "one query tells nothing of others");
    }

    #[test]
    fn a_row_may_stand_there_several_times() {
        let rows = [(1.0, false), (2.0, true), (3.0, false), (4.0, true)];
        assert_eq!(auc(&rows), Some(0.75));
        // As if the third row stood there three times.
        let times = [1.0, 1.0, 3.0, 1.0];
        assert_eq!(Ranked::new(&rows).auc(|row| times[row]), Some((1.0 + 4.0) / 8.0));
        assert_eq!(auc(&[(1.0, false), (1.0, true), (1.0, false), (1.0, true)]), Some(0.5));
        assert_eq!(auc(&[(4.0, false), (1.0, true), (4.0, false), (1.0, true)]), Some(0.0));
        assert_eq!(auc(&[(1.0, true), (2.0, true)]), None);
    }

    proptest! {
        #[test]
        fn it_is_the_share_of_pairs(scores in prop::collection::vec((0..5i8, any::<bool>()), 2..20)) {
            let scores: Vec<(f64, bool)> = scores.into_iter().map(|(s, good)| (f64::from(s), good)).collect();
            let of = |wanted: bool| scores.iter().filter(move |(_, good)| *good == wanted);
            let pairs = of(true).flat_map(|(good, _)| of(false).map(move |(bad, _)| (*good, *bad)));
            let wins: Vec<f64> = pairs.map(|(good, bad)| if good > bad { 1.0 } else if good == bad { 0.5 } else { 0.0 }).collect();
            let expected = (!wins.is_empty()).then(|| wins.iter().sum::<f64>() / wins.len() as f64);
            let is_near = match (auc(&scores), expected) {
                (Some(is), Some(expected)) => (is - expected).abs() < 1e-12,
                (is, expected) => is == expected,
            };
            prop_assert!(is_near);
        }
    }
}
