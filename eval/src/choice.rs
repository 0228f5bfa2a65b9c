//! Selects the items to judge: a part of the queries, up to a limit.

use std::collections::BTreeMap;

use jury_grm::domain::Item;
use jury_grm::random::SplitMix64;

use crate::split::{Part, part, query_key};

/// The selection criteria.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The part of the queries; `None`: all.
    pub part: Option<Part>,
    /// Share of the queries for training, 0..=1.
    pub train_share: f64,
    /// Seed of the split, and of the selection if there are more items than the limit.
    pub seed: u64,
    /// Maximum number of items; `None`: all.
    pub limit: Option<usize>,
}

// === impl Choice ===

impl Choice {
    /// Whether the item belongs to the selected part.
    pub fn wants(&self, item: &Item) -> bool {
        let of = part(query_key(item), self.seed, self.train_share);
        self.part.is_none_or(|wanted| wanted == of)
    }

    /// The items of the selected part. If they exceed the limit, takes equally many from each file, chosen by the
    /// seed.
    pub fn of(&self, files: Vec<Vec<Item>>) -> Vec<Item> {
        let wanted = |items: Vec<Item>| items.into_iter().filter(|item| self.wants(item)).collect();
        let mut files: Vec<Vec<Item>> = files.into_iter().map(wanted).collect();
        let limit = self.limit.unwrap_or(usize::MAX);
        if files.iter().map(Vec::len).sum::<usize>() <= limit {
            return files.concat();
        }
        let mut random = SplitMix64::new(self.seed);
        for items in &mut files {
            random.shuffle(items);
        }
        // Takes one from each file in turn, so that a small file is not outnumbered by a large one.
        let mut chosen = BTreeMap::<usize, Vec<Item>>::new();
        let mut turns: Vec<_> = files.into_iter().map(Vec::into_iter).enumerate().collect();
        let mut n_chosen = 0;
        while n_chosen < limit && !turns.is_empty() {
            turns.retain_mut(|(file, items)| match items.next() {
                Some(item) if n_chosen < limit => {
                    chosen.entry(*file).or_default().push(item);
                    n_chosen += 1;
                    true
                }
                _ => false,
            });
        }
        chosen.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Query;

    use super::*;

    fn file(name: &str, n: usize) -> Vec<Item> {
        let item = |at: usize| Item {
            id: format!("{name}{at}"),
            ..Item::bare(Query::Text(format!("{name} asks {at}")), vec![])
        };
        (0..n).map(item).collect()
    }

    const ALL: Choice = Choice { part: None, train_share: 0.5, seed: 3, limit: None };

    #[test]
    fn past_the_limit_a_small_file_is_not_drowned_by_a_large_one() {
        let chosen = Choice { limit: Some(7), ..ALL }.of(vec![file("a", 100), file("b", 2)]);
        let of = |name: &str| chosen.iter().filter(|item| item.id.starts_with(name)).count();
        assert_eq!((of("a"), of("b")), (5, 2));
    }

    #[test]
    fn a_smaller_limit_takes_the_first_of_a_larger_one() {
        let chosen = |limit| Choice { limit: Some(limit), ..ALL }.of(vec![file("a", 100)]);
        assert_eq!(chosen(10), chosen(20)[..10]);
        assert_eq!(ALL.of(vec![file("a", 100)]), file("a", 100), "all of them in their order");
    }

    #[test]
    fn the_parts_are_all_items_and_share_none() {
        let of = |part| Choice { part: Some(part), ..ALL }.of(vec![file("a", 100)]);
        let (train, test) = (of(Part::Train), of(Part::Test));
        assert_eq!(train.len() + test.len(), 100);
        assert!(!train.is_empty() && train.iter().all(|item| !test.contains(item)));
    }
}
