//! Rejection on hand-made trajectories.

use jury_grm::domain::{Outcome, Query, SampleSpec, Scores};

use super::*;

const RULES: Rules = Rules { n: 3, keeps_cut: false };

fn item(n: usize, best: Option<usize>, labels: Option<Vec<f64>>) -> Item {
    let responses = (0..n).map(|response| format!("answer {response}")).collect();
    Item { best, labels, ..Item::bare(Query::Text("q".to_owned()), responses) }
}

fn scored(scores: &[f64], forced: bool) -> Sample {
    let spec = SampleSpec { index: 0, seed: 0, order: (0..scores.len()).collect() };
    let (scores, score_distribution, readout_mass) = (scores.to_vec(), None, None);
    let outcome = Outcome::Scored(Scores { scores, score_distribution, readout_mass, forced });
    Sample { outcome, ..Sample::failed(spec, FailureKind::NoBox, "") }
}

fn failed(kind: FailureKind) -> Sample {
    Sample::failed(SampleSpec { index: 0, seed: 0, order: vec![0, 1] }, kind, "")
}

fn fates(
    item: &Item,
    scale: Scale,
    unhinted: &[Sample],
    hinted: &[Sample],
    rules: Rules,
) -> Vec<Fate> {
    let truth = truth::of(item).unwrap();
    let draws = Draws { item, truth, scale, unhinted, hinted };
    sift(&draws, rules).into_iter().map(|sifted| sifted.fate).collect()
}

#[test]
fn each_rule_of_the_paper_on_pairs() {
    use Fate::{CutOff, Kept, NotDrawn, TooEasy, TooLong, Unreadable, Wrong};
    let pair = item(2, Some(0), None);
    let right = || scored(&[8.0, 3.0], false);
    let tie = || scored(&[8.0, 8.0], false);
    let wrong = || scored(&[2.0, 9.0], false);
    let no_box = || failed(FailureKind::NoBox);
    for (unhinted, hinted, expected) in [
        (vec![right(), wrong(), tie()], vec![right()], vec![Kept, Wrong, Wrong, Kept]),
        (vec![right(), right(), right()], vec![right()], vec![TooEasy, TooEasy, TooEasy, Kept]),
        (vec![right(), right(), right()], vec![wrong()], vec![TooEasy, TooEasy, TooEasy, Wrong]),
        (
            vec![right(), right(), no_box()],
            vec![no_box()],
            vec![Kept, Kept, Unreadable, Unreadable],
        ),
        (vec![wrong(), wrong(), wrong()], vec![right()], vec![Wrong, Wrong, Wrong, Kept]),
        // Two right ones out of three planned samples do not show that the item is too easy.
        (vec![right(), right()], vec![], vec![Kept, Kept]),
        (
            vec![failed(FailureKind::TooLong), failed(FailureKind::TimedOut), right()],
            vec![],
            vec![TooLong, NotDrawn, Kept],
        ),
        // A sample that was cut off counts as right, but is not trained on.
        (
            vec![scored(&[8.0, 3.0], true), wrong(), right()],
            vec![scored(&[8.0, 3.0], true)],
            vec![CutOff, Wrong, Kept, CutOff],
        ),
        (
            vec![scored(&[8.0, 3.0], true), right(), right()],
            vec![],
            vec![TooEasy, TooEasy, TooEasy],
        ),
    ] {
        assert_eq!(fates(&pair, Scale::POINTWISE, &unhinted, &hinted, RULES), expected);
    }
    let rules = Rules { keeps_cut: true, ..RULES };
    let cut = [scored(&[8.0, 3.0], true), wrong(), wrong()];
    assert_eq!(fates(&pair, Scale::POINTWISE, &cut, &[], rules), [Kept, Wrong, Wrong]);
}

#[test]
fn a_single_response_must_hit_its_label_on_the_scale_0_to_1() {
    let single = item(1, None, Some(vec![1.0]));
    let samples = [scored(&[1.0], false), scored(&[0.0], false), scored(&[1.0], false)];
    let found = fates(&single, Scale::BINARY, &samples, &[], RULES);
    assert_eq!(found, [Fate::Kept, Fate::Wrong, Fate::Kept]);
}

#[test]
fn items_that_tell_nothing_are_named() {
    assert_eq!(unfit(&item(2, Some(1), None)), None);
    assert_eq!(unfit(&item(2, None, Some(vec![1.0, 2.0]))), None);
    assert_eq!(unfit(&item(1, None, Some(vec![0.0]))), None);
    for item in [
        item(2, None, None),
        item(2, None, Some(vec![1.0, 1.0])),
        item(1, None, None),
        item(1, None, Some(vec![7.0])),
    ] {
        assert!(unfit(&item).is_some(), "{item:?}");
    }
    let copies = Item { responses: vec!["one".to_owned(); 3], ..item(3, Some(1), None) };
    assert_eq!(unfit(&copies), Some("all responses are one text"));
    let two = Item { responses: ["one", "one", "other"].map(str::to_owned).to_vec(), ..copies };
    assert_eq!(unfit(&two), None);
}

/// A context that fits only one of several responses at a time makes panels of one, in which any score is the
/// highest.
#[test]
fn a_sample_that_showed_the_best_alone_is_neither_right_nor_wrong() {
    let triple = item(3, Some(0), None);
    let shown = |order: &[usize], scores: &[f64]| {
        let sample = scored(scores, false);
        let spec = SampleSpec { order: order.to_vec(), ..sample.spec };
        Sample { spec, ..sample }
    };
    let samples = [shown(&[0], &[1.0]), shown(&[2, 1], &[3.0, 4.0]), shown(&[0, 2], &[7.0, 4.0])];
    let found = fates(&triple, Scale::POINTWISE, &samples, &samples[..1], RULES);
    use Fate::{Kept, NoComparison};
    assert_eq!(found, [NoComparison, NoComparison, Kept, NoComparison]);
    let alone = [&samples[0], &samples[0], &samples[0]].map(Clone::clone);
    assert_eq!(fates(&triple, Scale::POINTWISE, &alone, &[], RULES), [NoComparison; 3]);
}

#[test]
fn the_table_adds_up() {
    let pair = item(2, Some(0), None);
    let (right, wrong) = (scored(&[8.0, 3.0], false), scored(&[1.0, 3.0], false));
    let (unhinted, hinted) = ([right.clone(), wrong], [right]);
    let truth = truth::of(&pair).unwrap();
    let draws =
        Draws { item: &pair, truth, scale: Scale::POINTWISE, unhinted: &unhinted, hinted: &hinted };
    let mut table = Table::default();
    table.record("maths", &sift(&draws, RULES));
    table.record("prose", &sift(&draws, RULES));
    assert_eq!((table.total(Fate::Kept), table.total(Fate::Wrong)), (4, 2));
    let text = table.to_markdown();
    assert!(text.contains("| maths | 1 | 1 | 2 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 1 |"), "{text}");
    assert!(text.contains("| **all** | 2 | 2 | 4 | 2 |"), "{text}");
}
