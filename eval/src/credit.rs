//! Credit of rewards against the truth.

/// The result of one method on one item, averaged over its draws.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Credit {
    /// Share of draws in which the best response was *strictly* highest (paper, section 3.2). 0..=1.
    pub strict: f64,
    /// The same when ties are broken at random: a share of 1 / (tied responses). 0..=1.
    pub random_ties: f64,
}

/// The credit of one draw. A response without a reward ranks below all that have one; without any reward the pick is
/// a guess. Identical responses count as one: `duplicate_of[i]` is the lowest index of a response with the same text
/// as response i.
pub fn of(rewards: &[Option<f64>], duplicate_of: &[usize], best: usize) -> Credit {
    let value = |reward: &Option<f64>| reward.unwrap_or(f64::NEG_INFINITY);
    let highest = rewards.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
    let is_highest = |reward: &Option<f64>| value(reward) == highest;
    let distinct = rewards.iter().enumerate().filter(|(at, _)| duplicate_of[*at] == *at);
    let n_highest = distinct.filter(|(_, reward)| is_highest(reward)).count();
    let best = duplicate_of[best];
    if !is_highest(&rewards[best]) {
        return Credit::default();
    }
    let is_strict = n_highest == 1 && rewards[best].is_some();
    Credit { strict: f64::from(u8::from(is_strict)), random_ties: 1.0 / n_highest as f64 }
}

/// The mean over several draws of one item; 0 if there are none.
pub fn mean(credits: impl IntoIterator<Item = Credit>) -> Credit {
    let (mut sum, mut n) = (Credit::default(), 0_u32);
    for credit in credits {
        sum.strict += credit.strict;
        sum.random_ties += credit.random_ties;
        n += 1;
    }
    let n = f64::from(n.max(1));
    Credit { strict: sum.strict / n, random_ties: sum.random_ties / n }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rewards: &[Option<f64>], best: usize) -> Credit {
        super::of(rewards, &(0..rewards.len()).collect::<Vec<_>>(), best)
    }

    #[test]
    fn a_response_does_not_tie_with_its_own_copy() {
        let rewards = [Some(3.0), Some(8.0), Some(8.0)];
        let right = Credit { strict: 1.0, random_ties: 1.0 };
        assert_eq!(super::of(&rewards, &[0, 1, 1], 2), right);
        assert_eq!(super::of(&rewards, &[0, 1, 1], 0), Credit::default());
        assert_eq!(super::of(&[None, None, None], &[0, 1, 1], 2).random_ties, 0.5);
    }

    #[test]
    fn a_tie_is_wrong_or_shared() {
        assert_eq!(of(&[Some(8.0), Some(3.0)], 0), Credit { strict: 1.0, random_ties: 1.0 });
        assert_eq!(of(&[Some(8.0), Some(8.0)], 0), Credit { strict: 0.0, random_ties: 0.5 });
        assert_eq!(of(&[Some(3.0), Some(8.0)], 0), Credit::default());
    }

    #[test]
    fn no_reward_is_no_low_score_but_a_guess() {
        assert_eq!(of(&[None, None], 0), Credit { strict: 0.0, random_ties: 0.5 });
        assert_eq!(of(&[Some(1.0), None], 0), Credit { strict: 1.0, random_ties: 1.0 });
        assert_eq!(of(&[Some(1.0), None], 1), Credit::default());
    }
}
