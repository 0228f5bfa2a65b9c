//! Train and test, split by query: no query, exact or normalised, is in both.

use jury_grm::domain::Item;

/// Identifies a query when items are split and intervals are clustered: items with equal keys are never treated as
/// independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryKey([u8; 16]);

/// Which part of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For training a Meta RM.
    Train,
    /// For measuring.
    Test,
}

/// The key of an item's whole conversation: letters and digits in lower case; everything else separates words; roles
/// are ignored.
pub fn query_key(item: &Item) -> QueryKey {
    let mut hasher = blake3::Hasher::new();
    for turn in item.query.turns() {
        let words = turn.content.split(|c: char| !c.is_alphanumeric());
        let mut words = words.filter(|word| !word.is_empty()).peekable();
        if words.peek().is_none() {
            hasher.update(turn.content.as_bytes()); // nothing but signs
        }
        for word in words {
            hasher.update(word.to_lowercase().as_bytes());
            hasher.update(b" ");
        }
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    QueryKey(key)
}

/// The part that a query belongs to. It depends only on key and seed, so files can be split one by one. `train_share`
/// is 0..=1.
pub fn part(key: QueryKey, seed: u64, train_share: f64) -> Part {
    let mut hasher = blake3::Hasher::new_derive_key("jury eval split");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&key.0);
    let mut head = [0; 8];
    head.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // 53 bits represent the resulting numbers in [0, 1) exactly.
    let at = (u64::from_le_bytes(head) >> 11) as f64 / (1_u64 << 53) as f64;
    if at < train_share { Part::Train } else { Part::Test }
}

impl std::fmt::Display for QueryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Query;
    use proptest::prelude::*;

    use super::*;

    fn key(query: &str) -> QueryKey {
        query_key(&Item::bare(Query::Text(query.to_owned()), vec![]))
    }

    #[test]
    fn a_query_written_otherwise_is_the_same_query() {
        assert_eq!(key("What is 2+2 ?"), key("what is  2+2\n"));
        assert_eq!(key("Was ist Öl?"), key("was ist öl"));
        assert_ne!(key("What is 22?"), key("what is 2+2"));
        assert_eq!(key("What is  Rust?\n"), key("what is rust"));
        assert_ne!(key("What is Rust?"), key("What was Rust?"));
        assert_ne!(key("ab c"), key("a bc"));
        assert_ne!(key("?!"), key("..."));
    }

    #[test]
    fn about_the_share_asked_for_is_for_training() {
        let keys = (0..4000).map(|i| key(&format!("query {i}")));
        let n_train = keys.filter(|key| part(*key, 7, 0.3) == Part::Train).count();
        assert!((1100..1300).contains(&n_train), "{n_train}");
    }

    proptest! {
        #[test]
        fn no_query_stands_in_both_parts(query in "[a-zA-Z ]{1,12}", seed: u64, share in 0.0..1.0f64) {
            let shouted = query.to_uppercase();
            prop_assert_eq!(part(key(&query), seed, share), part(key(&shouted), seed, share));
            prop_assert_eq!(key(&query).to_string().len(), 32);
        }

        #[test]
        fn the_ends_of_the_share_leave_one_part_empty(query in ".{0,9}", seed: u64) {
            prop_assert_eq!(part(key(&query), seed, 0.0), Part::Test);
            prop_assert_eq!(part(key(&query), seed, 1.0), Part::Train);
        }
    }
}
