//! ROC-AUC: the probability that a good one scores above a bad one.

use std::collections::BTreeMap;

use jury_grm::random::SplitMix64;

use super::bootstrap::{Interval, N_RESAMPLES, percentiles};

/// The score of something good or bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Higher means judged better.
    pub score: f64,
    /// Its weight: if it was scored in several draws, each draw has a share.
    pub weight: f64,
    /// The truth.
    pub good: bool,
}

/// The area under the ROC curve: the share of (good, bad) pairs in which the good one scores
/// higher, ties half (the Mann-Whitney statistic). `None` without a good or without a bad one.
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let rows = scores.iter().map(|&(score, good)| (0, Row { score, weight: 1.0, good }));
    Ranked::new(rows.collect()).auc(&[1.0])
}

/// The area and its 95 % interval by a bootstrap of whole clusters; no interval with fewer than two of them.
/// Resamples with only one kind are uninformative and are omitted.
pub fn auc_of_clusters<K: Ord>(
    rows: impl IntoIterator<Item = (K, Row)>,
    seed: u64,
) -> Option<(f64, Option<Interval>)> {
    let mut clusters = BTreeMap::<K, Vec<Row>>::new();
    for (key, row) in rows {
        clusters.entry(key).or_default().push(row);
    }
    let n = clusters.len();
    let numbered = clusters.into_values().enumerate();
    let rows = numbered.flat_map(|(cluster, rows)| rows.into_iter().map(move |row| (cluster, row)));
    // Sorted once: a resample has the same rows, each as often as its cluster was drawn.
    let ranked = Ranked::new(rows.collect());
    let area = ranked.auc(&vec![1.0; n])?;
    if n < 2 {
        return Some((area, None));
    }
    let mut random = SplitMix64::new(seed);
    let mut areas: Vec<f64> = (0..N_RESAMPLES)
        .filter_map(|_| {
            let mut times = vec![0.0; n];
            (0..n).for_each(|_| times[random.below(n)] += 1.0);
            ranked.auc(&times)
        })
        .collect();
    let interval = (areas.len() > 1).then(|| percentiles(&mut areas));
    Some((area, interval))
}

/// Rows in the order of their scores.
struct Ranked {
    /// Cluster and weight.
    rows: Vec<(usize, f64)>,
    /// For each score, from the lowest: the end of its bad rows, and the end of the good rows that follow them.
    ends: Vec<(usize, usize)>,
}

// === impl Ranked ===

impl Ranked {
    fn new(mut rows: Vec<(usize, Row)>) -> Self {
        let place = |(cluster, row): &(usize, Row)| (row.good, *cluster);
        rows.sort_unstable_by(|one, other| {
            one.1.score.total_cmp(&other.1.score).then_with(|| place(one).cmp(&place(other)))
        });
        // 0.0 and -0.0 are the same score.
        let mut ranked = Self { rows: Vec::new(), ends: Vec::new() };
        for level in rows.chunk_by(|one, other| one.1.score == other.1.score) {
            ranked.add(level.iter().filter(|(_, row)| !row.good));
            let end_of_bad = ranked.rows.len();
            ranked.add(level.iter().filter(|(_, row)| row.good));
            ranked.ends.push((end_of_bad, ranked.rows.len()));
        }
        ranked
    }

    /// Merges rows that are indistinguishable.
    fn add<'a>(&mut self, rows: impl Iterator<Item = &'a (usize, Row)>) {
        let start = self.rows.len();
        for (cluster, row) in rows {
            match self.rows[start..].last_mut().filter(|(last, _)| last == cluster) {
                Some((_, weight)) => *weight += row.weight,
                None => self.rows.push((*cluster, row.weight)),
            }
        }
    }

    /// The area if each cluster is present as often as `times` says.
    fn auc(&self, times: &[f64]) -> Option<f64> {
        let sum = |from: usize, to: usize| -> f64 {
            self.rows[from..to].iter().map(|(cluster, weight)| times[*cluster] * weight).sum()
        };
        let (mut wins, mut n_good, mut n_bad, mut start) = (0.0, 0.0, 0.0, 0);
        for &(end_of_bad, end) in &self.ends {
            let (bad, good) = (sum(start, end_of_bad), sum(end_of_bad, end));
            wins += good * (n_bad + bad / 2.0);
            n_good += good;
            n_bad += bad;
            start = end;
        }
        (n_good > 0.0 && n_bad > 0.0).then(|| wins / (n_good * n_bad))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(score: f64, good: bool) -> Row {
        Row { score, weight: 1.0, good }
    }

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
        let rows = (0..60).map(|i| (i, row(f64::from(i % 7), i % 2 == 0)));
        let (area, interval) = auc_of_clusters(rows, 1).unwrap();
        let [low, high] = interval.unwrap();
        assert!(low < area && area < high);
        let one = [("q", row(1.0, false)), ("q", row(2.0, true))];
        assert_eq!(auc_of_clusters(one, 1), Some((1.0, None)), "one query tells nothing of others");
    }

    #[test]
    fn a_cluster_may_stand_there_several_times() {
        let rows = [(1.0, false), (2.0, true), (3.0, false), (4.0, true)];
        assert_eq!(auc(&rows), Some(0.75));
        // As if the third row were present three times.
        let clusters = (0..).zip(rows.map(|(score, good)| row(score, good)));
        let ranked = Ranked::new(clusters.collect());
        assert_eq!(ranked.auc(&[1.0, 1.0, 3.0, 1.0]), Some((1.0 + 4.0) / 8.0));
        assert_eq!(auc(&[(1.0, false), (1.0, true), (1.0, false), (1.0, true)]), Some(0.5));
        assert_eq!(auc(&[(4.0, false), (1.0, true), (4.0, false), (1.0, true)]), Some(0.0));
        assert_eq!(auc(&[(0.0, false), (-0.0, true)]), Some(0.5));
        assert_eq!(auc(&[(1.0, true), (2.0, true)]), None);
    }

    #[test]
    fn a_draw_counts_by_its_share() {
        // The good one is above the bad one in a quarter of its draws, and tied in another quarter.
        let share = |score, weight, good| Row { score, weight, good };
        let rows = [
            ("good", share(3.0, 0.25, true)),
            ("good", share(2.0, 0.25, true)),
            ("good", share(1.0, 0.25, true)),
            ("good", share(1.0, 0.25, true)),
            ("bad", share(2.0, 1.0, false)),
        ];
        let (area, interval) = auc_of_clusters(rows, 1).unwrap();
        assert_eq!((area, interval), (0.375, Some([0.375, 0.375])));
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
