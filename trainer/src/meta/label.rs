//! From judged items to labelled states.

use std::collections::HashMap;

use jury_eval::split::query_key;
use jury_eval::truth;
use jury_grm::domain::{Item, Sample, Scale, Verdict};
use jury_grm::plan::duplicate_of;

use super::{JudgeError, LabelledState};

/// One row for each of an item's `samples` that has a hidden state and is known to be right or wrong
/// ([`truth::is_correct`]) on the `scale` of its scores.
pub fn label(item: &Item, scale: Scale, samples: &[Sample]) -> Vec<LabelledState> {
    let Some(truth) = truth::of(item) else { return Vec::new() };
    let (query, duplicate_of) = (query_key(item).to_string(), duplicate_of(&item.responses));
    let row = |sample: &Sample| {
        let correct = truth::is_correct(truth, &duplicate_of, scale, sample)?;
        let state = sample.hidden_state.clone()?;
        Some(LabelledState { item: item.id.clone(), query: query.clone(), state, correct })
    };
    samples.iter().filter_map(row).collect()
}

/// Same, for all judged items. A verdict for another item with the same id is ignored.
pub fn label_all(items: &[Item], verdicts: &[Verdict]) -> Vec<LabelledState> {
    let mut by_id = HashMap::<&str, Vec<&Verdict>>::new();
    verdicts.iter().for_each(|of| by_id.entry(&*of.item_id).or_default().push(of));
    let of_item = |item: &Item| {
        let same_id = by_id.get(&*item.id).map(Vec::as_slice).unwrap_or_default();
        let verdict = same_id.iter().rev().find(|verdict| verdict.is_of(item));
        let Some(verdict) = verdict else { return Vec::new() };
        let scale = verdict.provenance.settings.scale;
        label(item, scale, verdict.samples.as_deref().unwrap_or_default())
    };
    items.iter().flat_map(of_item).collect()
}

/// Digest of the model that judged all items: a head reads the states of a single model.
///
/// # Errors
/// [`JudgeError`]: no model judged any, or several did.
pub fn only_judge(verdicts: &[Verdict]) -> Result<String, JudgeError> {
    let judged_by = |verdict: &Verdict| verdict.provenance.model_digest.clone();
    let digest = verdicts.iter().find_map(judged_by).ok_or(JudgeError::None)?;
    let is_of_another = |verdict: &&Verdict| judged_by(verdict).is_some_and(|by| by != digest);
    match verdicts.iter().find(is_of_another) {
        None => Ok(digest),
        Some(other) => Err(JudgeError::Several(other.item_id.clone())),
    }
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
        label(item, Scale::BINARY, samples).into_iter().map(|row| row.correct).collect()
    }

    #[test]
    fn the_best_must_be_strictly_highest_wherever_it_was_shown() {
        let item = Item { best: Some(1), ..item(&["a", "b", "c"]) };
        let samples = [
            sample(&[1, 0, 2], &[9.0, 3.0, 8.0]),
            sample(&[0, 1, 2], &[9.0, 9.0, 1.0]),
            sample(&[2, 0], &[9.0, 1.0]), // a panel without the best
            sample(&[1], &[1.0]),         // one with nothing beside it
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
        let on_another_scale = label(&item, Scale::POINTWISE, &[sample(&[0], &[1.0])]);
        assert!(on_another_scale.is_empty(), "there 1 is the worst score, and the label the best");
    }

    #[test]
    fn samples_without_scores_or_states_are_no_rows() {
        let item = Item { best: Some(0), ..item(&["a", "b"]) };
        let mut stateless = sample(&[0, 1], &[9.0, 1.0]);
        stateless.hidden_state = None;
        let failed = Sample::failed(stateless.spec.clone(), FailureKind::NoBox, "");
        assert!(label(&item, Scale::POINTWISE, &[stateless, failed]).is_empty());
    }
}
