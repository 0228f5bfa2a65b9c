//! The rule of `jury train rl` and the function that other trainers call agree on thousands of texts.

#![allow(clippy::unwrap_used)] // Tests may.

#[path = "../examples/reward_texts/texts.rs"]
mod texts;

use std::collections::BTreeMap;
use std::path::Path;

use jury_grm::correct::outcome_reward_of;
use texts::{N_TEXTS, Rewarded, all};

fn texts() -> Vec<Rewarded> {
    all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures"))
}

#[test]
fn what_rl_rewards_is_what_other_trainers_reward() {
    let mut seen: BTreeMap<(bool, bool), usize> = BTreeMap::new();
    let mut distinct = std::collections::BTreeSet::new();
    for Rewarded { item, order, text, reward } in texts() {
        let found = outcome_reward_of(&item, &order, &text).unwrap();
        let context = || format!("{item:?} {order:?} {text:?}");
        assert_eq!(
            (found.value, found.is_readable),
            (reward.value, reward.is_readable),
            "{}",
            context()
        );
        assert!(reward.is_readable || reward.value < 0.0, "form earns nothing: {}", context());
        *seen.entry((reward.is_readable, reward.value > 0.0)).or_default() += 1;
        distinct.insert(text);
    }
    assert_eq!(seen.values().sum::<usize>(), N_TEXTS);
    assert!(distinct.len() > N_TEXTS / 2, "{}", distinct.len());
    // Each outcome of the rule occurs often.
    for answer in [(true, true), (true, false), (false, false)] {
        assert!(seen[&answer] > N_TEXTS / 10, "{seen:?}");
    }
}

#[test]
fn the_texts_are_the_same_each_time() {
    let pairs = texts().into_iter().zip(texts());
    for (one, other) in pairs {
        assert_eq!((one.text, one.order), (other.text, other.order));
    }
}
