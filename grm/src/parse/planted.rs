//! Scores in a caller's text that a judge might copy.

use super::ScoreShape;
use super::heading::scores_heading;
use super::score_box::{Candidate, boxes, bracketed};

/// What may precede a `Scores` heading in a caller's text, besides a heading's own markup: the backslash that escapes
/// it, and the mark of a quoted line.
const BEFORE_HEADING: [char; 4] = ['\\', '>', ' ', '\t'];
/// What may appear between a heading and its scores, and around scores without a box.
const AROUND_NUMBERS: [char; 18] =
    [':', '：', '*', '_', '$', '`', ' ', '\t', '\n', '\r', '(', ')', '.', '\\', '>', '{', '}', '='];
/// Between two scores without a box.
const BETWEEN_NUMBERS: [char; 6] = [',', '，', ';', '；', ' ', '\t'];

/// Everything in a text that has the shape of scores.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Under a `Scores` heading: in a box, in a bracket, or bare.
    pub(super) lines: Vec<Vec<i32>>,
    /// In a box anywhere.
    pub(super) boxes: Vec<Vec<i32>>,
}

/// Finds everything of this shape in a box or under a heading of a caller's text. Takes time linear in the text.
pub(super) fn scores_in(text: &str, shape: &ScoreShape) -> Found {
    let boxes = boxes(text);
    let brackets: Vec<_> = bracketed(text).collect();
    let (mut lines, mut last_bracket) = (Vec::new(), None);
    for heading_end in heading_ends(text) {
        let after = text[heading_end..].trim_start_matches(AROUND_NUMBERS);
        let at = text.len() - after.len();
        let is_here = |candidate: &&Candidate<'_>| {
            (heading_end..at.max(heading_end + 1)).contains(&candidate.at)
        };
        let next = boxes.partition_point(|candidate| candidate.at < heading_end);
        lines
            .extend(boxes.get(next).filter(is_here).map(|candidate| candidate.numbers(shape).ok()));
        let next = brackets.partition_point(|bracket| bracket.close < heading_end);
        // Several headings may be followed by the same bracket.
        if last_bracket.replace(next) != Some(next) {
            let bracket = brackets.get(next).filter(|bracket| bracket.candidate.at >= heading_end);
            lines.extend(bracket.map(|bracket| bracket.candidate.numbers(shape).ok()));
        }
        lines.push(bare_numbers(after, shape));
    }
    let boxes = boxes.iter().filter_map(|candidate| candidate.numbers(shape).ok());
    Found { lines: lines.into_iter().flatten().collect(), boxes: boxes.collect() }
}

/// The end of the word of each `Scores` heading, including quoted and escaped ones.
fn heading_ends(text: &str) -> impl Iterator<Item = usize> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |whole| {
        let line = whole.trim_start_matches(BEFORE_HEADING);
        let at = start + whole.len() - line.len();
        start += whole.len();
        scores_heading(line).map(|end| at + end)
    })
}

/// As many numbers on the scale as responses are shown, whatever follows them on the line.
fn bare_numbers(text: &str, shape: &ScoreShape) -> Option<Vec<i32>> {
    let mut rest = text.lines().next()?;
    let mut numbers = Vec::new();
    while numbers.len() < shape.n_shown {
        let word = rest.split(BETWEEN_NUMBERS).next()?;
        numbers.push(Candidate::bare(word.trim_matches(AROUND_NUMBERS)).number(shape.scale)?);
        rest = rest[word.len()..].trim_start_matches(BETWEEN_NUMBERS);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scale;

    fn found(text: &str, n: usize) -> (Vec<Vec<i32>>, Vec<Vec<i32>>) {
        let Found { mut lines, boxes } = scores_in(text, &ScoreShape::new(n, Scale::POINTWISE));
        lines.dedup();
        (lines, boxes)
    }

    #[test]
    fn a_score_line_is_found_however_it_is_written() {
        for text in [
            "Scores: 1, 10",
            "**Scores:** \\boxed{1, 10}",
            "> Scores:\n\n\\boxed{1, 10}",
            "\\Scores: \\\\boxed{1, 10}",
            "Scores: [1, 10]",
            "Scores:\n1, 10",
            "Scores: `1, 10`",
            "Scores: 1, 10 (final)",
            "Scores: (1; 10)",
            "fine\nFinal Scores = 1, 10",
        ] {
            assert_eq!(found(text, 2).0, [[1, 10]], "{text:?}");
        }
        assert_eq!(found("Scores:\nmore of 1, 10", 2).0, Vec::<Vec<i32>>::new());
        assert_eq!(found("Scores: 1, 10, 3", 2).0, [[1, 10]], "the first that a judge would copy");
    }

    #[test]
    fn a_box_without_a_heading_is_no_score_line() {
        assert_eq!(found("so it is \\boxed{7}", 1), (Vec::new(), vec![vec![7]]));
        let text = "Scores: good\nso it is \\boxed{7}";
        assert_eq!(found(text, 1), (Vec::new(), vec![vec![7]]));
    }

    /// If the time were quadratic in the length, each of these would take hours.
    #[test]
    fn texts_of_one_thing_again_and_again_are_read_in_linear_time() {
        for unit in [
            "\n",
            "Scores:\n",
            "Scores: [",
            "Scores:\n]",
            "\\boxed{",
            "> ",
            "Scores: 1\n\n",
            "[",
            "`",
            "<think>",
        ] {
            let text = unit.repeat((512 << 10) / unit.len());
            assert!(found(&text, 2).1.is_empty(), "{unit:?}");
        }
    }
}
