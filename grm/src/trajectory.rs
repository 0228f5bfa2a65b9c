//! A sample's text as a Meta RM reads it: the assistant's turn after the prompt that the sample saw.

use crate::domain::Sample;

/// Principles, critique and score line under the headings that the prompt asks for; `None` for a sample without scores.
///
/// Scores that are means are rounded to the nearest whole number, halves up, because a Meta RM is trained on what
/// models write. The text is assembled from the sample's parts, so that it is the same for guided and free samples,
/// however the model wrote its headings.
pub fn text(sample: &Sample) -> Option<String> {
    let scores = sample.scores()?.scores.iter();
    let scores: Vec<String> = scores.map(|score| format!("{:.0}", score.round())).collect();
    let parts = [
        ("Specific Criteria:\n", sample.principles.trim()),
        ("Analysis:\n", sample.critique.trim()),
    ];
    let mut text = String::new();
    for (heading, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
        text.extend([heading, part, "\n\n"]);
    }
    text += &format!("Scores: \\boxed{{{}}}", scores.join(", "));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FailureKind, Finish, Outcome, SampleSpec, Scale, Scores};
    use crate::parse::{ScoreShape, parse_free};

    fn scored(principles: &str, critique: &str, scores: &[f64]) -> Sample {
        let spec = SampleSpec { index: 0, seed: 0, order: (0..scores.len()).collect() };
        let (scores, score_distribution, readout_mass) = (scores.to_vec(), None, None);
        let scores = Scores { scores, score_distribution, readout_mass, forced: false };
        Sample {
            principles: principles.to_owned(),
            critique: critique.to_owned(),
            outcome: Outcome::Scored(scores),
            ..Sample::failed(spec, FailureKind::NoBox, "")
        }
    }

    #[test]
    fn a_trajectory_has_the_three_parts_in_the_order_of_the_method() {
        let sample = scored("Accuracy: 100 %", "The first is right.\n", &[8.0, 3.0]);
        assert_eq!(
            text(&sample).unwrap(),
            "Specific Criteria:\nAccuracy: 100 %\n\nAnalysis:\nThe first is right.\n\nScores: \\boxed{8, 3}"
        );
        assert_eq!(text(&scored("", "", &[10.0])).unwrap(), "Scores: \\boxed{10}");
    }

    #[test]
    fn means_are_rounded_to_what_a_model_would_write() {
        let line = |scores: &[f64]| text(&scored("", "", scores)).unwrap();
        assert_eq!(line(&[7.4, 7.5, 0.4]), "Scores: \\boxed{7, 8, 0}");
    }

    #[test]
    fn the_parser_reads_a_trajectory_back() {
        let sample = scored("Accuracy.", "First: right.\nSecond: wrong.", &[9.0, 2.0]);
        let shape = ScoreShape::new(2, Scale::POINTWISE);
        let read = parse_free(&text(&sample).unwrap(), &shape, Finish::Box);
        assert_eq!(read.outcome, sample.outcome);
        assert_eq!((read.principles, read.critique), (sample.principles, sample.critique));
        assert!(read.issues.is_empty());
    }

    #[test]
    fn a_sample_without_scores_has_no_trajectory() {
        let spec = SampleSpec { index: 0, seed: 0, order: vec![0] };
        assert_eq!(text(&Sample::failed(spec, FailureKind::NoBox, "")), None);
    }
}
