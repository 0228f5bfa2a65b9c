//! Which items become rows, and in which orders.

use std::collections::BTreeMap;

use jury_eval::truth::{self, Truth};
use jury_grm::domain::{Item, Scale, ScoreRequest};
use jury_grm::plan::{duplicate_of, plan};

/// The next position of the best response, as a running count: number of responses to items so far.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<usize, usize>);

// === impl Places ===

impl Places {
    /// Of the orders that serving would use, the one with the best response in the next position.
    pub(super) fn next_order(&mut self, item: &Item) -> Vec<usize> {
        let mut request = ScoreRequest::new(item.clone());
        request.settings.k = u32::try_from(item.responses.len()).unwrap_or(1);
        // A panel without the best response would be penalised whatever the judge writes about it.
        request.settings.max_panel = u32::MAX;
        let mut orders = plan(&request).samples.into_iter().map(|spec| spec.order);
        let first = orders.next().unwrap_or_default();
        let turn = self.0.entry(first.len()).or_default();
        let place = *turn % first.len().max(1);
        *turn += 1;
        let stands = |order: &Vec<usize>| order.get(place).copied() == item.best;
        if stands(&first) { first } else { orders.find(stands).unwrap_or(first) }
    }
}

/// The item with its best response given explicitly, and the scale of its scores.
pub(super) fn with_truth(item: &Item) -> Option<(Item, Scale)> {
    if crate::rft::unfit(item).is_some() {
        return None;
    }
    match truth::of(item)? {
        Truth::Best(best) => {
            // A duplicate is shown under the lowest index of its text.
            let best = duplicate_of(&item.responses)[best];
            Some((Item { best: Some(best), ..item.clone() }, Scale::POINTWISE))
        }
        Truth::Single(_) => Some((item.clone(), Scale::BINARY)),
        Truth::Graded => None,
    }
}
