//! Subsets of an item's samples: what a smaller k would have drawn.
//!
//! Orders cycle by index, so samples `i*n .. (i+1)*n` show each response once in every place. A
//! subset is made of such whole *order blocks*, drawn without replacement; only its last block may be cut short, and then
//! it is a run of neighbours as the first samples of a plan would be. A curve over k is then free
//! of luck in the draw and of unbalanced places.

use jury_grm::random::SplitMix64;

/// Subsets of `k` of the samples `0..n_samples`, indices ascending. There are `n_draws`, or the only one when k takes all.
///
/// `block` is the number of samples in an order block, at least 1.
pub fn subsets(
    n_samples: usize,
    k: usize,
    block: usize,
    n_draws: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    let k = k.min(n_samples);
    if k == n_samples || k == 0 {
        return vec![(0..k).collect()];
    }
    let mut random = SplitMix64::new(seed);
    (0..n_draws).map(|_| subset(n_samples, k, block, &mut random)).collect()
}

fn subset(n_samples: usize, k: usize, block: usize, random: &mut SplitMix64) -> Vec<usize> {
    let n_blocks = n_samples.div_ceil(block);
    let mut blocks: Vec<usize> = (0..n_blocks).collect();
    random.shuffle(&mut blocks);
    let mut chosen = Vec::with_capacity(k);
    for at in blocks {
        let samples: Vec<usize> = (at * block..((at + 1) * block).min(n_samples)).collect();
        let wanted = k - chosen.len();
        if wanted >= samples.len() {
            chosen.extend(samples);
        } else {
            // Any place in the block may come first.
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_subset_has_k_samples_and_at_most_one_broken_block(
            n in 1usize..40, k in 1usize..40, block in 1usize..6, seed: u64,
        ) {
            for subset in subsets(n, k, block, 5, seed) {
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
        for subset in subsets(8, 3, 2, 8000, 1) {
            subset.iter().for_each(|index| counts[*index] += 1);
        }
        assert!(counts.iter().all(|count| (2800..3200).contains(count)), "{counts:?}");
    }

    #[test]
    fn all_samples_are_one_subset() {
        assert_eq!(subsets(4, 4, 2, 100, 0), [vec![0, 1, 2, 3]]);
        assert_eq!(subsets(4, 9, 2, 100, 0), [vec![0, 1, 2, 3]]);
    }
}
