//! What to draw for rejective fine-tuning (paper, section 3.2): three batches.

use jury_eval::truth::{self, Truth};
use jury_grm::domain::{Item, Scale, ScoreRequest};

/// Items that are judged with the same settings.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `pairs`, `hinted` or `singles`.
    pub name: &'static str,
    /// The items.
    pub items: Vec<Item>,
    /// The request for each item, except for the item itself.
    pub request: ScoreRequest,
}

/// The non-empty batches for `items`: items with several responses, once without and once with a hint, and single
/// responses on the scale 0..1. `request` has the settings of unhinted samples.
pub fn batches(request: &ScoreRequest, items: &[Item]) -> Vec<Batch> {
    let request = ScoreRequest { min_samples: Some(1), ..request.clone() };
    let mut hinted = ScoreRequest { hinted: true, ..request.clone() };
    hinted.settings.k = 1;
    let mut single = request.clone();
    single.settings.scale = Scale::BINARY;
    let several = || items.iter().filter(|item| item.responses.len() > 1);
    // A hint needs the best response given explicitly, even if it follows from labels.
    let named = several().filter_map(|item| match truth::of(item)? {
        Truth::Best(best) => Some(Item { best: Some(best), ..item.clone() }),
        Truth::Single(_) | Truth::Graded => None,
    });
    let singles = items.iter().filter(|item| item.responses.len() == 1);
    let batches = [
        Batch { name: "pairs", items: several().cloned().collect(), request },
        Batch { name: "hinted", items: named.collect(), request: hinted },
        Batch { name: "singles", items: singles.cloned().collect(), request: single },
    ];
    batches.into_iter().filter(|batch| !batch.items.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Query;

    use super::*;

    fn item(responses: &[&str], labels: &[f64]) -> Item {
        let responses = responses.iter().map(|&text| text.to_owned()).collect();
        Item { labels: Some(labels.to_vec()), ..Item::bare(Query::Text("q".to_owned()), responses) }
    }

    #[test]
    fn a_hint_names_what_labels_tell_and_single_responses_get_none() {
        let items = [item(&["a", "b"], &[0.0, 1.0]), item(&["a"], &[1.0])];
        let mut request = ScoreRequest::new(items[0].clone());
        request.settings.k = 3;
        let batches = batches(&request, &items);
        let [pairs, hinted, singles] = &batches[..] else { panic!("{batches:?}") };
        assert_eq!([pairs.name, hinted.name, singles.name], ["pairs", "hinted", "singles"]);
        assert_eq!(pairs.items, items[..1]);
        assert_eq!(hinted.items[0].best, Some(1));
        assert_eq!(singles.items, items[1..]);
        let settings = batches.iter().map(|batch| (batch.request.hinted, &batch.request.settings));
        let settings: Vec<_> = settings.map(|(hinted, s)| (hinted, s.k, s.scale)).collect();
        let (ten, binary) = (pairs.request.settings.scale, Scale::BINARY);
        assert_eq!(settings, [(false, 3, ten), (true, 1, ten), (false, 3, binary)]);
    }

    #[test]
    fn a_batch_without_items_is_none() {
        let items = [item(&["a"], &[1.0])];
        let batches = batches(&ScoreRequest::new(items[0].clone()), &items);
        assert_eq!(batches.iter().map(|batch| batch.name).collect::<Vec<_>>(), ["singles"]);
    }
}
