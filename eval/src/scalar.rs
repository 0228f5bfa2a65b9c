//! Scalar reward models on the same items: one score per response, from a single pass and without generated text.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::credit;
use crate::curve::Point;
use crate::judged::Judged;
use crate::published::{Answered, Figure, Set, figures};
use crate::report::Cell;
use crate::truth::Truth;

/// The results of a scalar reward model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scalar {
    /// Its name in reports.
    pub name: String,
    /// Digest of its files, hex.
    pub model_digest: String,
    /// By item, one score per response; `None` if there is none, for example because its context is too short.
    pub rewards: HashMap<String, Vec<Option<f64>>>,
    /// Tokens computed per item.
    pub tokens: f64,
    /// Seconds per item.
    pub seconds: f64,
}

/// A scalar reward model in a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalarReport {
    /// Digest of its files, hex.
    pub model_digest: String,
    /// Its accuracy on the same items.
    pub cell: Cell,
    /// The figures of published sets, by set.
    pub published: BTreeMap<String, Vec<Figure>>,
    /// Tokens computed per item.
    pub tokens: f64,
    /// Seconds per item.
    pub seconds: f64,
}

// === impl Scalar ===

impl Scalar {
    /// Its results for each item. Responses without a score rank below all others.
    pub fn point(&self, items: &[Judged]) -> Point {
        let mut point = Point::default();
        for (place, judged) in items.iter().enumerate() {
            let Some(rewards) = self.rewards_of(judged) else { continue };
            match judged.truth {
                Truth::Best(best) => {
                    point.credits.insert(place, credit::of(rewards, &judged.duplicate_of, best));
                }
                Truth::Single(_) => {
                    if let Some(Some(reward)) = rewards.first() {
                        point.singles.insert(place, vec![(*reward, 1.0)]);
                    }
                }
                Truth::Graded => {}
            }
        }
        point
    }

    /// The figures of each published set that has items here.
    pub fn published(&self, items: &[Judged]) -> BTreeMap<String, Vec<Figure>> {
        let mut by_set = BTreeMap::<Set, Vec<Answered<'_>>>::new();
        for judged in items {
            if let (Some(set), Some(rewards)) = (Set::of(judged.item()), self.rewards_of(judged)) {
                by_set.entry(set).or_default().push(Answered { item: judged.item(), rewards });
            }
        }
        let named = |(set, answered): (Set, Vec<Answered<'_>>)| {
            (set.name().to_owned(), figures(set, &answered))
        };
        by_set.into_iter().map(named).collect()
    }

    fn rewards_of(&self, judged: &Judged) -> Option<&[Option<f64>]> {
        let rewards = self.rewards.get(&judged.item().id)?;
        (rewards.len() == judged.item().responses.len()).then_some(rewards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::tests::judged;

    #[test]
    fn a_scalar_model_earns_what_its_scores_rank() {
        let item = |id: &str| {
            let mut judged = judged(id, &[(5.0, 5.0, 0.0)]);
            judged.request.item.id = id.to_owned();
            judged
        };
        let items = ["right", "wrong", "tie", "cut", "unknown"].map(item);
        let rewards = [
            ("right", vec![Some(0.5), Some(-3.0)]),
            ("wrong", vec![Some(0.5), Some(0.6)]),
            ("tie", vec![Some(0.5), Some(0.5)]),
            ("cut", vec![None, Some(-9.0)]),
        ];
        let rewards = rewards.into_iter().map(|(id, rewards)| (id.to_owned(), rewards)).collect();
        let scalar = Scalar { rewards, ..Scalar::default() };
        let strict: Vec<f64> =
            scalar.point(&items).credits.values().map(|credit| credit.strict).collect();
        assert_eq!(strict, [1.0, 0.0, 0.0, 0.0]);
    }
}
