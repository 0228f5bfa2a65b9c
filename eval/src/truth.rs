//! What is known about an item: which response is best, or how good a single one is.

use jury_grm::correct::{best_by_label, is_correct_ranking, is_correct_single, is_one_text};
use jury_grm::domain::{Item, Sample, Scale};

use crate::published::is_graded;

/// The truth to compare a judge's rewards with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// The index of the best response of several.
    Best(usize),
    /// Quality of a single response; it is good if above the middle of its source's labels.
    Single(f64),
    /// Several right responses, used only by the figures of its published set.
    Graded,
}

/// The truth of `item`: `best`; otherwise the response with the highest label if it is unique apart from copies; for
/// a single response, its label; [`Truth::Graded`] if a published set has several right ones. `None` if there is
/// nothing to compare rewards with, and for several responses with the same text, for which every judge would be
/// either right or wrong.
pub fn of(item: &Item) -> Option<Truth> {
    let labels = item.labels.as_deref().unwrap_or_default();
    if item.responses.len() == 1 {
        return labels.first().copied().map(Truth::Single);
    }
    if is_one_text(item) {
        return None;
    }
    if let Some(best) = item.best {
        return Some(Truth::Best(best));
    }
    match best_by_label(item) {
        Some(best) => Some(Truth::Best(best)),
        None => (!labels.is_empty() && is_graded(item)).then_some(Truth::Graded),
    }
}

/// Whether a sample on its own is right (paper, section 3.2): the best response strictly highest, or the label
/// matched. `None` without scores, and for a panel that did not show the best response beside another one, since it
/// does not show how well its sample judged. A single response is right or wrong only on the scale 0..1, on which its
/// label is a score.
///
/// `duplicate_of[i]` is the lowest index of a response identical to response i; it is shown under that index.
pub fn is_correct(
    truth: Truth,
    duplicate_of: &[usize],
    scale: Scale,
    sample: &Sample,
) -> Option<bool> {
    let (order, scores) = (&sample.spec.order, &sample.scores()?.scores);
    match truth {
        Truth::Best(best) => {
            let best = *duplicate_of.get(best)?;
            is_correct_ranking(order, scores, best)
        }
        Truth::Single(label) => {
            let score = *scores.first()?;
            (scale == Scale::BINARY).then(|| is_correct_single(score, label))
        }
        Truth::Graded => None,
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{FailureKind, Outcome, Query, SampleSpec, Scores};

    use super::*;

    fn item(n: usize, best: Option<usize>, labels: Option<Vec<f64>>) -> Item {
        let responses = (0..n).map(|i| i.to_string()).collect();
        Item { best, labels, ..Item::bare(Query::Text("q".to_owned()), responses) }
    }

    #[test]
    fn the_best_is_told_or_follows_from_the_labels() {
        assert_eq!(of(&item(3, Some(2), Some(vec![9.0, 1.0, 1.0]))), Some(Truth::Best(2)));
        assert_eq!(of(&item(3, None, Some(vec![1.0, 4.0, 3.0]))), Some(Truth::Best(1)));
    }

    #[test]
    fn equal_labels_name_no_best() {
        assert_eq!(of(&item(3, None, Some(vec![4.0, 4.0, 3.0]))), None);
        assert_eq!(of(&item(2, None, None)), None);
    }

    #[test]
    fn copies_of_one_text_have_no_best() {
        let copies =
            |best, labels| Item { responses: vec!["same".to_owned(); 2], ..item(2, best, labels) };
        assert_eq!(of(&copies(Some(0), None)), None);
        assert_eq!(of(&copies(None, Some(vec![1.0, 0.0]))), None);
    }

    #[test]
    fn a_panel_tells_nothing_where_it_compares_the_best_with_nothing() {
        let judged = |order: &[usize], scores: &[f64]| {
            let spec = SampleSpec { index: 0, seed: 0, order: order.to_vec() };
            let outcome = Outcome::Scored(Scores {
                scores: scores.to_vec(),
                score_distribution: None,
                readout_mass: None,
                forced: false,
            });
            let sample = Sample { outcome, ..Sample::failed(spec, FailureKind::NoBox, "") };
            is_correct(Truth::Best(1), &[0, 1, 2], Scale::POINTWISE, &sample)
        };
        assert_eq!(judged(&[1, 0], &[9.0, 1.0]), Some(true));
        assert_eq!(judged(&[1, 0], &[1.0, 1.0]), Some(false));
        assert_eq!(judged(&[2, 0], &[9.0, 1.0]), None, "the best was not shown");
        assert_eq!(judged(&[1], &[1.0]), None, "it stood alone");
    }

    #[test]
    fn a_single_response_has_its_label() {
        assert_eq!(of(&item(1, Some(0), Some(vec![0.0]))), Some(Truth::Single(0.0)));
        assert_eq!(of(&item(1, Some(0), None)), None);
    }
}
