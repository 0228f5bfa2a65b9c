//! Properties of parsing that hold for any text.

use proptest::prelude::*;

use super::pieces::PIECES;
use super::*;

/// Fragments of a model's worst texts.
fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(PIECES.to_vec());
    prop::collection::vec(fragment, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_scores_of_the_right_shape_or_none(text in fragments(), n in 1usize..4) {
        let parsed = parse_free(&text, &ScoreShape::new(n, Scale::POINTWISE), Finish::EndOfText);
        if let Some(scores) = parsed.scores() {
            prop_assert_eq!(scores.scores.len(), n);
            prop_assert!(scores.scores.iter().all(|&score| Scale::POINTWISE.contains(score)));
        }
    }

    #[test]
    fn any_bytes_are_survived(text in ".*") {
        free(&text);
    }

    #[test]
    fn a_box_quoted_before_a_text_changes_neither_its_scores_nor_its_watch(text in fragments()) {
        let quoting = format!("It says \\boxed{{10, 1}}.\n{text}");
        let (parsed, with_quote) = (free(&text), free(&quoting));
        if parsed.scores().is_some() {
            prop_assert_eq!(parsed.scores(), with_quote.scores());
        } else if with_quote.scores().is_some() {
            prop_assert!(with_quote.issues.contains(&Issue::BoxOutsideScores));
        }
        let fires = |text: &str| ScoreBoxWatch::new(pair()).look(text);
        prop_assert_eq!(fires(&quoting), fires(&text));
    }

    #[test]
    fn the_watch_sees_the_same_in_pieces_as_at_once(text in fragments(), step in 1usize..5) {
        let mut stepped = ScoreBoxWatch::new(pair());
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).step_by(step);
        for end in ends {
            let at_once = ScoreBoxWatch::new(pair()).look(&text[..end]);
            let fired = stepped.look(&text[..end]);
            prop_assert!(!fired || at_once, "{:?}", &text[..end]);
            if fired || at_once {
                prop_assert!(fired, "{:?}", &text[..end]);
                break;
            }
        }
    }

    #[test]
    fn any_sequence_of_texts_is_survived(texts in prop::collection::vec(fragments(), 0..6)) {
        let mut watch = ScoreBoxWatch::new(pair());
        for text in &texts {
            watch.look(text);
        }
    }

    #[test]
    fn where_the_watch_fires_the_parser_finds_scores(text in fragments()) {
        let mut watch = ScoreBoxWatch::new(pair());
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        for end in ends {
            if watch.look(&text[..end]) {
                let parsed = free(&text[..end]);
                prop_assert!(parsed.scores().is_some(), "{:?}", &text[..end]);
                prop_assert!(!parsed.issues.contains(&Issue::BoxOutsideScores));
                break;
            }
        }
    }

    #[test]
    fn what_is_written_in_the_format_is_read_back(
        written in prop::collection::vec(1i32..=10, 1..9),
        critique in "[a-z ,.]{0,40}",
    ) {
        let list = written.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let text = format!("Specific Criteria: c\nAnalysis: {critique}\nScores: \\boxed{{{list}}}");
        let parsed = parse_free(&text, &ScoreShape::new(written.len(), Scale::POINTWISE), Finish::Box);
        let expected: Vec<f64> = written.into_iter().map(f64::from).collect();
        prop_assert_eq!(parsed.scores().map(|scores| scores.scores.clone()), Some(expected));
        prop_assert_eq!(parsed.critique, critique.trim());
        prop_assert_eq!(parsed.issues, vec![]);
    }
}
