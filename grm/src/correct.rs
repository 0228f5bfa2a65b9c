//! What SPCT calls a correct trajectory (paper, section 3.2; equation of the outcome reward).

use crate::domain::{Finish, Item, Outcome, Scale};
use crate::parse::{ScoreShape, parse_free};
use crate::plan::duplicate_of;
use crate::prompt::{PromptInput, Template, TemplateError, Variant};

/// The ground truth that a trajectory's scores are compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The index of the best of several responses, as used in `order`.
    Best(usize),
    /// The label of a single response, 0 or 1.
    Label(f64),
}

/// The rule's result for one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutcomeReward {
    /// +1 or -1.
    pub value: f64,
    /// Whether the text had readable scores.
    pub is_readable: bool,
}

/// Why the rule cannot be applied to an item.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The item has no ground truth.
    #[error("the item has no best response, and no label of 0 or 1 for a single one")]
    NoTruth,
    /// All responses are copies of the same text.
    #[error("all responses of the item are one text, of which none is better than another")]
    OneText,
    /// The prompt shows one of several responses alone, so nothing is compared.
    #[error(
        "order: shows one text alone; scores of several responses are right or wrong where at least two are compared"
    )]
    Alone,
    /// The order names a response that does not exist.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl Target {
    /// The target that the item itself gives: for several responses `best`, else [`best_by_label`]; for a single
    /// response its label. `None` if there is nothing to compare: a single response without a label, or several that
    /// are all the same text, since that text always has the highest score.
    pub fn of(item: &Item) -> Option<Target> {
        if let (1, Some(labels)) = (item.responses.len(), &item.labels) {
            return labels
                .first()
                .filter(|&&label| label == 0.0 || label == 1.0)
                .copied()
                .map(Target::Label);
        }
        if item.responses.len() < 2 || is_one_text(item) {
            return None;
        }
        let best = item.best.or_else(|| best_by_label(item))?;
        duplicate_of(&item.responses).get(best).copied().map(Target::Best)
    }

    /// The scale of the scores that are compared with it.
    pub fn scale(self) -> Scale {
        match self {
            Target::Best(_) => Scale::POINTWISE,
            Target::Label(_) => Scale::BINARY,
        }
    }
}

/// True if the item has several responses and they are all the same text.
pub fn is_one_text(item: &Item) -> bool {
    let mut responses = item.responses.iter();
    let first = responses.next();
    item.responses.len() > 1 && responses.all(|other| Some(other) == first)
}

/// The response whose label is strictly the highest; among copies of one text, the first.
pub fn best_by_label(item: &Item) -> Option<usize> {
    let labels = item.labels.as_deref().unwrap_or_default();
    let top = labels.iter().copied().reduce(f64::max)?;
    let distinct = duplicate_of(&item.responses);
    let mut best =
        labels.iter().zip(distinct).filter(|(label, _)| **label == top).map(|(_, it)| it);
    let first = best.next()?;
    best.all(|other| other == first).then_some(first)
}

/// The reward rule of reinforcement learning for a judge (paper, section 3.3): +1 if the best response has strictly the
/// highest score, or if a single response's score equals its label; otherwise -1. A text without readable scores is
/// wrong, and form alone earns nothing.
pub fn outcome_reward(
    text: &str,
    finish: Finish,
    shape: &ScoreShape,
    order: &[usize],
    target: Target,
) -> OutcomeReward {
    let Outcome::Scored(scores) = parse_free(text, shape, finish).outcome else {
        return OutcomeReward { value: -1.0, is_readable: false };
    };
    let is_right = match target {
        Target::Best(best) => is_correct_ranking(order, &scores.scores, best) == Some(true),
        Target::Label(label) => {
            scores.scores.first().is_some_and(|&score| is_correct_single(score, label))
        }
    };
    OutcomeReward { value: if is_right { 1.0 } else { -1.0 }, is_readable: true }
}

/// As [`outcome_reward`], for a text that answers the built-in prompt of `item` with its responses in `order`.
///
/// # Errors
/// [`RuleError`] if the item has no ground truth, if the order names a response that the item does not have, or if it
/// shows one of several responses alone.
pub fn outcome_reward_of(
    item: &Item,
    order: &[usize],
    text: &str,
) -> Result<OutcomeReward, RuleError> {
    let no_target = || if is_one_text(item) { RuleError::OneText } else { RuleError::NoTruth };
    let target = Target::of(item).ok_or_else(no_target)?;
    let (scale, variant) = (target.scale(), Variant::Plain);
    let rendered = Template::builtin().render(&PromptInput { item, order, scale, variant })?;
    if let Target::Best(_) = target {
        let distinct = duplicate_of(&item.responses);
        let mut shown = order.iter().map(|&response| distinct[response]);
        let first = shown.next();
        if shown.all(|other| Some(other) == first) {
            return Err(RuleError::Alone);
        }
    }
    let shape = ScoreShape::of_prompt(&rendered.messages, order.len(), scale);
    Ok(outcome_reward(text, Finish::EndOfText, &shape, order, target))
}

/// Whether the scores of one trajectory are correct for several responses: the best one must be *strictly* highest, so
/// a tie is wrong. `scores[i]` belongs to `order[i]`. `None` if the panel did not show the best response beside another
/// one: a response shown alone always has the highest score.
pub fn is_correct_ranking(order: &[usize], scores: &[f64], best: usize) -> Option<bool> {
    let position = order.iter().position(|&response| response == best)?;
    let best_score = scores.get(position).copied().unwrap_or(f64::NEG_INFINITY);
    let mut rivals = scores.iter().enumerate().filter(|&(rival, _)| rival != position);
    (order.len() > 1).then(|| rivals.all(|(_, &score)| score < best_score))
}

/// True when the score of a single response equals its label.
pub fn is_correct_single(score: f64, label: f64) -> bool {
    score.total_cmp(&label).is_eq()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_must_be_strictly_highest() {
        assert_eq!(is_correct_ranking(&[1, 0], &[9.0, 3.0], 1), Some(true));
        assert_eq!(is_correct_ranking(&[1, 0], &[9.0, 3.0], 0), Some(false));
        assert_eq!(is_correct_ranking(&[0, 1], &[9.0, 9.0], 0), Some(false), "a tie is wrong");
        assert_eq!(is_correct_ranking(&[0, 1], &[9.0, 3.0], 2), None, "the best was not shown");
        assert_eq!(is_correct_ranking(&[0], &[1.0], 0), None, "nothing stood beside it");
    }

    fn rewarded(item: &Item, order: &[usize], text: &str) -> (f64, bool) {
        let reward = outcome_reward_of(item, order, text).unwrap();
        (reward.value, reward.is_readable)
    }

    #[test]
    fn the_rule_rewards_a_strictly_highest_best_wherever_it_stood_and_form_earns_nothing() {
        let responses = ["Lyon.", "Paris.", "Paris."].map(str::to_owned).to_vec();
        let query = crate::domain::Query::Text("The capital?".to_owned());
        let item = Item { best: Some(2), ..Item::bare(query.clone(), responses) };
        let text = "Analysis: x\nScores: \\boxed{8, 3}";
        assert_eq!(rewarded(&item, &[1, 0], text), (1.0, true));
        assert_eq!(rewarded(&item, &[0, 1], text), (-1.0, true));
        assert_eq!(rewarded(&item, &[1, 0], "Scores: \\boxed{8, 8}"), (-1.0, true));
        assert_eq!(rewarded(&item, &[1, 0], "both are fine"), (-1.0, false));
        let single =
            Item { labels: Some(vec![1.0]), ..Item::bare(query, vec!["Paris.".to_owned()]) };
        assert_eq!(rewarded(&single, &[0], "Scores: \\boxed{1}"), (1.0, true));
        assert_eq!(rewarded(&single, &[0], "Scores: \\boxed{0}"), (-1.0, true));
        let labelled = |labels: Vec<f64>| Item { best: None, labels: Some(labels), ..item.clone() };
        assert_eq!(rewarded(&labelled(vec![0.0, 1.0, 0.5]), &[1, 0], text), (1.0, true));
        let copies = labelled(vec![0.0, 1.0, 1.0]);
        assert_eq!(rewarded(&copies, &[1, 0], text), (1.0, true), "both are Paris");
        let equal = labelled(vec![1.0, 1.0, 0.0]);
        assert!(matches!(outcome_reward_of(&equal, &[0, 1], text), Err(RuleError::NoTruth)));
        let unknown = Item { best: None, ..item.clone() };
        assert!(matches!(outcome_reward_of(&unknown, &[0, 1], text), Err(RuleError::NoTruth)));
        assert!(outcome_reward_of(&item, &[0, 7], text).is_err());
    }

    #[test]
    fn what_compares_nothing_earns_nothing() {
        let query = crate::domain::Query::Text("The capital?".to_owned());
        let named = |responses: &[&str]| Item {
            best: Some(0),
            ..Item::bare(query.clone(), responses.iter().map(|&text| text.to_owned()).collect())
        };
        let told = |item: &Item, order: &[usize]| {
            outcome_reward_of(item, order, "Scores: \\boxed{9}").unwrap_err().to_string()
        };
        let copies = named(&["Paris.", "Paris."]);
        assert_eq!(Target::of(&copies), None);
        assert!(told(&copies, &[0]).contains("one text"));
        let labelled = Item { best: None, labels: Some(vec![1.0, 0.0]), ..copies };
        assert!(told(&labelled, &[0]).contains("one text"));
        let three = named(&["Paris.", "Lyon.", "Paris."]);
        for alone in [&[0][..], &[1], &[0, 2], &[]] {
            assert!(told(&three, alone).starts_with("order: shows one text alone"), "{alone:?}");
        }
    }

    /// Answers to mathematics problems are often in boxes, and 0 and 1 are ordinary answers.
    #[test]
    fn a_single_response_whose_answer_is_its_label_can_be_judged_right() {
        for (label, verdict, value) in [(1.0, 1, 1.0), (0.0, 0, 1.0), (1.0, 0, -1.0)] {
            let responses = vec![format!("3 - 2 = \\boxed{{{label}}}")];
            let query = crate::domain::Query::Text("3 - 2, in \\boxed{}".to_owned());
            let item = Item { labels: Some(vec![label]), ..Item::bare(query, responses) };
            let text = format!("Analysis: x\nScores: \\boxed{{{verdict}}}");
            assert_eq!(rewarded(&item, &[0], &text), (value, true), "{label} {verdict}");
        }
    }

    #[test]
    fn a_single_response_must_hit_its_label() {
        assert!(is_correct_single(1.0, 1.0));
        assert!(!is_correct_single(0.0, 1.0));
    }
}
