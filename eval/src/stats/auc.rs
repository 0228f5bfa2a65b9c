//! ROC-AUC: how probable it is that a good one scores above a bad one.

use std::collections::BTreeMap;

use jury_grm::random::SplitMix64;

use super::bootstrap::{Interval, N_RESAMPLES, percentiles};

/// The area under the ROC curve: the share of (good, bad) pairs in which the good one scores
/// higher, ties half (the Mann-Whitney statistic). `None` without a good or without a bad one.
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let n_good = sorted.iter().filter(|(_, good)| *good).count();
    let n_bad = sorted.len() - n_good;
    if n_good == 0 || n_bad == 0 {
        return None;
    }
    let (mut wins, mut bad_below) = (0.0, 0_usize);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let good = tied.iter().filter(|(_, good)| *good).count();
        let bad = tied.len() - good;
        wins += good as f64 * (bad_below as f64 + bad as f64 / 2.0);
        bad_below += bad;
    }
    Some(wins / (n_good as f64 * n_bad as f64))
}

/// The area and its 95 % interval by a bootstrap of whole clusters. Resamples with one kind alone say nothing and are
/// left out.
pub fn auc_of_clusters<K: Ord>(
    scores: impl IntoIterator<Item = (K, f64, bool)>,
    seed: u64,
) -> Option<(f64, Interval)> {
    let mut clusters = BTreeMap::<K, Vec<(f64, bool)>>::new();
    for (key, score, good) in scores {
        clusters.entry(key).or_default().push((score, good));
    }
    let clusters: Vec<Vec<(f64, bool)>> = clusters.into_values().collect();
    let area = auc(&clusters.concat())?;
    let mut random = SplitMix64::new(seed);
    let mut areas: Vec<f64> = (0..N_RESAMPLES)
        .filter_map(|_| {
            let drawn = (0..clusters.len()).map(|_| &clusters[random.below(clusters.len())]);
            auc(&drawn.flatten().copied().collect::<Vec<_>>())
        })
        .collect();
    (areas.len() > 1).then(|| (area, percentiles(&mut areas)))
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
        let (area, [low, high]) = auc_of_clusters(scores, 1).unwrap();
        assert!(low < area && area < high);
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
