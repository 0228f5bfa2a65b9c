//! From judged items to labelled states, and the key by which queries are told apart.

use std::fmt::Write as _;

use jury_grm::correct::{is_correct_ranking, is_correct_single};
use jury_grm::domain::{Item, Sample};

use super::LabelledState;

/// One row for each of an item's `samples` that has scores and a hidden state, and whose truth is known: with several
/// responses shown, the true best is among them and strictly highest, or not; with a single one, its score equals its label,
/// or not. The best is `item.best`, else the one with the highest label, if it is alone.
pub fn label(item: &Item, samples: &[Sample]) -> Vec<LabelledState> {
    let (query, best) = (query_key(item), best(item));
    let row = |sample: &Sample| {
        let (scores, state) = (sample.scores()?, sample.hidden_state.clone()?);
        let correct = match (&sample.spec.order[..], &scores.scores[..]) {
            ([response], [score]) => {
                let labels = item.labels.as_ref()?;
                is_correct_single(*score, *labels.get(*response)?)
            }
            (order, scores) => {
                // A panel without the best tells nothing of how well its sample judged.
                let best = best.filter(|best| order.contains(best))?;
                is_correct_ranking(order, scores, best)
            }
        };
        Some(LabelledState { item: item.id.clone(), query: query.clone(), state, correct })
    };
    samples.iter().filter_map(row).collect()
}

/// A key that is the same for queries which differ in case, white space and punctuation alone: a digest of who says which words,
/// hex.
pub fn query_key(item: &Item) -> String {
    let mut words = String::new();
    for turn in item.query.turns() {
        let _ = write!(words, "{:?}:", turn.role);
        let content = turn.content.to_lowercase();
        let is_apart = |c: char| !c.is_alphanumeric();
        let mut said = content.split(is_apart).filter(|word| !word.is_empty()).peekable();
        if said.peek().is_none() {
            words.push_str(&content); // nothing but signs
        }
        said.for_each(|word| {
            let _ = write!(words, "{word} ");
        });
        words.push('\n');
    }
    blake3::hash(words.as_bytes()).to_hex().to_string()
}

/// The true best, as samples show it: identical responses are shown once, under the lowest index.
fn best(item: &Item) -> Option<usize> {
    let best = item.best.or_else(|| highest(item.labels.as_ref()?))?;
    let response = item.responses.get(best)?;
    item.responses.iter().position(|other| other == response)
}

/// The index of the highest label, if no other equals it.
fn highest(labels: &[f64]) -> Option<usize> {
    let highest = labels.iter().copied().max_by(f64::total_cmp)?;
    let mut at = labels.iter().enumerate().filter(|(_, label)| **label == highest);
    let (index, _) = at.next()?;
    at.next().is_none().then_some(index)
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{FailureKind, Outcome, Query, SampleSpec, Scores};

    use super::*;

    fn item(responses: &[&str]) -> Item {
        let responses = responses.iter().map(|&text| text.to_owned()).collect();
        Item {
            id: "i".to_owned(),
            ..Item::bare(Query::Text("What is 2 + 2?".to_owned()), responses)
        }
    }

    fn sample(order: &[usize], scores: &[f64]) -> Sample {
        let spec = SampleSpec { index: 0, seed: 0, order: order.to_vec() };
        let scores = Scores {
            scores: scores.to_vec(),
            score_distribution: None,
            readout_mass: None,
            forced: false,
        };
        let hidden_state = Some(vec![0.5]);
        let failed = Sample::failed(spec, FailureKind::NoBox, "");
        Sample { outcome: Outcome::Scored(scores), hidden_state, ..failed }
    }

    fn labels(item: &Item, samples: &[Sample]) -> Vec<bool> {
        label(item, samples).into_iter().map(|row| row.correct).collect()
    }

    #[test]
    fn the_best_must_be_strictly_highest_wherever_it_was_shown() {
        let item = Item { best: Some(1), ..item(&["a", "b", "c"]) };
        let samples = [
            sample(&[1, 0, 2], &[9.0, 3.0, 8.0]),
            sample(&[0, 1, 2], &[9.0, 9.0, 1.0]),
            sample(&[2, 0], &[9.0, 1.0]), // a panel without the best
        ];
        assert_eq!(labels(&item, &samples), [true, false]);
    }

    #[test]
    fn a_copy_of_the_best_is_the_best() {
        let item = Item { best: Some(2), ..item(&["a", "b", "a"]) };
        assert_eq!(labels(&item, &[sample(&[0, 1], &[9.0, 1.0])]), [true]);
    }

    #[test]
    fn without_a_best_the_highest_label_is_it_and_equal_ones_tell_nothing() {
        let labelled = |of: &[f64]| Item { labels: Some(of.to_vec()), ..item(&["a", "b"]) };
        let samples = [sample(&[0, 1], &[1.0, 9.0])];
        assert_eq!(labels(&labelled(&[0.0, 1.0]), &samples), [true]);
        assert_eq!(labels(&labelled(&[1.0, 0.0]), &samples), [false]);
        assert!(labels(&labelled(&[1.0, 1.0]), &samples).is_empty());
        assert!(labels(&item(&["a", "b"]), &samples).is_empty());
    }

    #[test]
    fn a_single_response_is_judged_by_its_label() {
        let item = Item { labels: Some(vec![1.0]), ..item(&["a"]) };
        assert_eq!(labels(&item, &[sample(&[0], &[1.0]), sample(&[0], &[0.0])]), [true, false]);
    }

    #[test]
    fn samples_without_scores_or_states_are_no_rows() {
        let item = Item { best: Some(0), ..item(&["a", "b"]) };
        let mut stateless = sample(&[0, 1], &[9.0, 1.0]);
        stateless.hidden_state = None;
        let failed = Sample::failed(stateless.spec.clone(), FailureKind::NoBox, "");
        assert!(label(&item, &[stateless, failed]).is_empty());
    }

    #[test]
    fn queries_are_told_apart_by_their_words_alone() {
        let key = |text: &str| query_key(&Item::bare(Query::Text(text.to_owned()), Vec::new()));
        assert_eq!(key("What is  Rust?\n"), key("what is rust"));
        assert_ne!(key("What is Rust?"), key("What was Rust?"));
        assert_ne!(key("ab c"), key("a bc"));
        assert_ne!(key("?!"), key("..."));
    }
}
