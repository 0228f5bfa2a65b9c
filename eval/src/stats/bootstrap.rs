//! The cluster bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997,
//! section 3.8): whole queries are drawn with replacement.

use std::collections::BTreeMap;

use jury_grm::random::SplitMix64;
use serde::{Deserialize, Serialize};

/// Number of resamples for an interval.
pub const N_RESAMPLES: usize = 2000;

/// Lower and upper bound.
pub type Interval = [f64; 2];

/// Values of items, grouped by what makes them dependent.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters(Vec<Vec<f64>>);

/// The difference between two methods on the same items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Mean of the first minus mean of the second.
    pub difference: f64,
    /// 95 % percentile interval of the difference.
    pub interval: Interval,
    /// Two-sided: twice the smaller share of resamples on either side of 0, ties split. Never below 2 / resamples.
    pub p_value: f64,
}

// === impl Clusters ===

impl Clusters {
    /// Groups `values` by their keys.
    pub fn new<K: Ord>(values: impl IntoIterator<Item = (K, f64)>) -> Self {
        let mut groups = BTreeMap::<K, Vec<f64>>::new();
        for (key, value) in values {
            groups.entry(key).or_default().push(value);
        }
        Self(groups.into_values().collect())
    }

    /// Mean of all values, each counted once; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        mean(self.0.iter().map(Vec::as_slice))
    }

    /// The 95 % percentile interval of the mean; `None` with fewer than two clusters.
    pub fn interval(&self, seed: u64) -> Option<Interval> {
        Some(percentiles(&mut self.resampled_means(seed)?))
    }

    /// Statistics of differences, one value per item.
    pub fn paired(&self, seed: u64) -> Option<Paired> {
        let mut means = self.resampled_means(seed)?;
        let n = means.len() as f64;
        let ties = means.iter().filter(|mean| **mean == 0.0).count() as f64 / 2.0;
        let below = means.iter().filter(|mean| **mean < 0.0).count() as f64 + ties;
        let p_value = (2.0 * below.min(n - below) / n).clamp(2.0 / n, 1.0);
        Some(Paired { difference: self.mean()?, interval: percentiles(&mut means), p_value })
    }

    fn resampled_means(&self, seed: u64) -> Option<Vec<f64>> {
        let n = self.0.len();
        if n < 2 {
            return None;
        }
        // Each cluster is reduced to its sum, which a resample adds up.
        let sums: Vec<(f64, usize)> =
            self.0.iter().map(|cluster| (cluster.iter().sum(), cluster.len())).collect();
        let mut random = SplitMix64::new(seed);
        let resample = |_| {
            let (mut sum, mut count) = (0.0, 0);
            for _ in 0..n {
                let (of_cluster, size) = sums[random.below(n)];
                sum += of_cluster;
                count += size;
            }
            sum / count as f64
        };
        Some((0..N_RESAMPLES).map(resample).collect())
    }
}

/// The 2.5th and the 97.5th percentile.
pub(super) fn percentiles(values: &mut [f64]) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    [at(0.025), at(0.975)]
}

fn mean<'a>(clusters: impl Iterator<Item = &'a [f64]>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    for value in clusters.flatten() {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` values of 0 or 1 with mean `share`, with `per_cluster` equal ones per query.
    fn coins(n: usize, share: f64, per_cluster: usize, seed: u64) -> Clusters {
        let mut random = SplitMix64::new(seed);
        let heads: Vec<f64> = (0..n / per_cluster)
            .map(|_| f64::from(u8::from((random.below(1000) as f64) < share * 1000.0)))
            .collect();
        Clusters::new((0..n).map(|i| (i / per_cluster, heads[i / per_cluster])))
    }

    #[test]
    fn an_interval_holds_the_truth_about_as_often_as_it_says() {
        let held = (0..200).filter(|seed| {
            let [low, high] = coins(150, 0.7, 1, *seed).interval(1).unwrap();
            (low..=high).contains(&0.7)
        });
        let share = held.count() as f64 / 200.0;
        assert!((0.90..=0.99).contains(&share), "{share}");
    }

    #[test]
    fn items_of_one_query_tell_less_than_as_many_queries() {
        let width = |per_cluster| {
            let [low, high] = coins(400, 0.5, per_cluster, 3).interval(1).unwrap();
            high - low
        };
        assert!(width(4) > 1.6 * width(1), "{} and {}", width(4), width(1));
    }

    #[test]
    fn a_difference_is_told_from_none() {
        let better = Clusters::new((0..100).map(|i| (i, f64::from(u8::from(i % 4 == 0)))));
        let paired = better.paired(1).unwrap();
        assert_eq!(paired.difference, 0.25);
        assert!(paired.interval[0] > 0.15 && paired.p_value < 0.01, "{paired:?}");
        let none = Clusters::new((0..100).map(|i| (i, if i % 2 == 0 { 0.5 } else { -0.5 })));
        let paired = none.paired(1).unwrap();
        assert!(paired.interval[0] < 0.0 && paired.interval[1] > 0.0 && paired.p_value > 0.5);
    }

    #[test]
    fn one_query_has_no_interval() {
        let one = Clusters::new([("q", 1.0), ("q", 0.0)]);
        assert_eq!((one.mean(), one.interval(0)), (Some(0.5), None));
        assert_eq!(Clusters::new::<u8>([]).mean(), None);
    }
}
