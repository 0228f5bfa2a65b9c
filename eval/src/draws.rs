//! Subsets of an item's samples: what a run with a smaller k would have drawn.
//!
//! Orders cycle by index, so samples `i*n .. (i+1)*n` show each response once in every position. A subset consists of
//! such whole *order blocks*, drawn without replacement. Only its last block may be cut short; it is then a
//! contiguous run, like the first samples of a plan. A curve over k is therefore free of luck in the draw and of
//! unbalanced positions.

use std::collections::BTreeSet;

use jury_grm::domain::Sample;
use jury_grm::random::SplitMix64;

/// How many samples of an item it takes to show each response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    /// Samples per order block, at least 1.
    pub block: usize,
    /// Samples that show each response once: 1, or with panels a block. Fewer are not a vote on the item, so fewer
    /// are never drawn.
    pub round: usize,
}

/// Subsets of `k` of the samples `0..n_samples`, with ascending indices; of a whole round if k is smaller. Returns
/// `n_draws` subsets, or the only one if k takes all samples.
pub fn subsets(
    n_samples: usize,
    k: usize,
    orders: Orders,
    n_draws: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    let k = orders.at_least(k).min(n_samples);
    if k == n_samples || k == 0 {
        return vec![(0..k).collect()];
    }
    let mut random = SplitMix64::new(seed);
    (0..n_draws).map(|_| subset(n_samples, k, orders, &mut random)).collect()
}

// === impl Orders ===

impl Orders {
    /// Derived from the samples of an item.
    pub fn of(samples: &[Sample]) -> Self {
        let shown = || samples.iter().map(|sample| &sample.spec.order);
        let n_shown = shown().flatten().collect::<BTreeSet<_>>().len();
        let mut seen = BTreeSet::<usize>::new();
        let shows_all = |order: &Vec<usize>| {
            seen.extend(order);
            seen.len() == n_shown
        };
        match shown().position(shows_all).map_or(1, |last| last + 1) {
            1 => Self { block: n_shown.max(1), round: 1 },
            round => Self { block: round, round },
        }
    }

    /// Samples that a plan draws when `k` are requested.
    pub fn at_least(self, k: usize) -> usize {
        k.max(self.round)
    }
}

fn subset(n_samples: usize, k: usize, orders: Orders, random: &mut SplitMix64) -> Vec<usize> {
    let Orders { block, round } = orders;
    let n_blocks = n_samples.div_ceil(block);
    let mut blocks: Vec<usize> = (0..n_blocks).collect();
    random.shuffle(&mut blocks);
    // A round that was cut short does not show each response, so a whole one must precede it.
    if round > 1 && n_blocks > 1 && (blocks[0] + 1) * block > n_samples {
        blocks.swap(0, 1);
    }
    let mut chosen = Vec::with_capacity(k);
    for at in blocks {
        let samples: Vec<usize> = (at * block..((at + 1) * block).min(n_samples)).collect();
        let wanted = k - chosen.len();
        if wanted >= samples.len() {
            chosen.extend(samples);
        } else {
            // Any position in the block may come first.
            let start = random.below(samples.len());
            chosen.extend((0..wanted).map(|step| samples[(start + step) % samples.len()]));
        }
        if chosen.len() == k {
            break;
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{FailureKind, Item, Query, ScoreRequest, Settings};
    use jury_grm::plan::plan;
    use proptest::prelude::*;

    use super::*;

    const PAIRS: Orders = Orders { block: 2, round: 1 };

    proptest! {
        #[test]
        fn orders_are_told_by_samples_as_by_their_plan(
            n in 1usize..20, k in 1u32..9, max_panel in 1u32..9, seed: u64,
        ) {
            let responses = (0..n).map(|at| at.to_string()).collect();
            let item = Item::bare(Query::Text("q".to_owned()), responses);
            let settings = Settings { k, max_panel, ..Settings::default() };
            let request = ScoreRequest { settings, seed, ..ScoreRequest::new(item) };
            let plan = plan(&request);
            let samples: Vec<Sample> = plan.samples.iter().map(|spec| Sample::failed(spec.clone(), FailureKind::NoBox, "")).collect();
            let orders = Orders::of(&samples);
            prop_assert_eq!(orders.block, plan.block as usize);
            // Each subset shows each response, like the plan for its k.
            for subset in subsets(samples.len(), 1, orders, 5, seed) {
                let shown = subset.iter().flat_map(|at| &samples[*at].spec.order);
                prop_assert_eq!(shown.collect::<BTreeSet<_>>().len(), n);
            }
        }

        #[test]
        fn a_subset_has_k_samples_and_at_most_one_broken_block(
            n in 1usize..40, k in 1usize..40, block in 1usize..6, seed: u64,
        ) {
            for subset in subsets(n, k, Orders { block, round: 1 }, 5, seed) {
                prop_assert_eq!(subset.len(), k.min(n));
                prop_assert!(subset.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(subset.iter().all(|index| *index < n));
                let broken = (0..n.div_ceil(block)).filter(|at| {
                    let whole = (at * block..((at + 1) * block).min(n)).len();
                    let has = subset.iter().filter(|index| **index / block == *at).count();
                    has > 0 && has < whole
                });
                prop_assert!(broken.count() <= 1);
            }
        }
    }

    #[test]
    fn every_sample_is_drawn_about_equally_often() {
        let mut counts = [0_u32; 8];
        for subset in subsets(8, 3, PAIRS, 8000, 1) {
            subset.iter().for_each(|index| counts[*index] += 1);
        }
        assert!(counts.iter().all(|count| (2800..3200).contains(count)), "{counts:?}");
    }

    #[test]
    fn all_samples_are_one_subset() {
        assert_eq!(subsets(4, 4, PAIRS, 100, 0), [vec![0, 1, 2, 3]]);
        assert_eq!(subsets(4, 9, PAIRS, 100, 0), [vec![0, 1, 2, 3]]);
    }
}
