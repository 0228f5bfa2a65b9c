//! Detects where a free sample can stop.

use super::ScoreShape;
use super::heading::scores_heading;
use super::own::OwnLines;
use super::score_box::boxes;

/// Fires once the text under the last `Scores` heading has a box of the right shape. A box that is quoted, thought,
/// copied from the item, or has a different count does not fire. With one response shown, a box that the item contains
/// outside a score line fires if it is the first under the heading.
#[derive(Debug, Clone)]
pub struct ScoreBoxWatch {
    shape: ScoreShape,
    /// Bytes examined so far.
    seen_bytes: usize,
    lines: OwnLines,
    /// The model's own words under the last `Scores` heading, from the complete lines.
    under_heading: Option<String>,
}

// === impl ScoreBoxWatch ===

impl ScoreBoxWatch {
    /// Watches a sample whose scores must have `shape`.
    pub fn new(shape: ScoreShape) -> Self {
        let lines = OwnLines::beginning(shape.begins);
        Self { shape, seen_bytes: 0, lines, under_heading: None }
    }

    /// True when the score box is complete. `text` is the whole text so far and grows from call to call; a shorter one
    /// restarts the watch. Only new text is examined, and, if it contains a closing brace, the text under the heading.
    pub fn look(&mut self, text: &str) -> bool {
        if text.len() < self.seen_bytes {
            *self = Self::new(self.shape.clone());
        }
        let fresh = text.as_bytes().get(self.seen_bytes..).unwrap_or_default();
        self.seen_bytes = text.len();
        if fresh.contains(&b'\n') {
            while let Some(line) = self.lines.next_ended(text) {
                self.under_heading = self.under(line.takes_back, &line.own);
            }
        }
        fresh.contains(&b'}') && self.has_score_box(text)
    }

    fn has_score_box(&self, text: &str) -> bool {
        let last = self.lines.last(text);
        let under = self.under(last.takes_back, &last.own).unwrap_or_default();
        let boxes = boxes(&under);
        let begins_with_it = || boxes.first()?.read_on_score_line(&self.shape).ok();
        boxes.iter().any(|found| found.read(&self.shape).is_ok())
            || (self.shape.n_shown == 1 && begins_with_it().is_some())
    }

    /// The text under the last heading, `line` included.
    fn under(&self, takes_back: bool, line: &str) -> Option<String> {
        if let Some(end) = scores_heading(line) {
            return Some(line[end..].to_owned());
        }
        let before = self.under_heading.as_ref().filter(|_| !takes_back)?;
        Some(format!("{before}{line}"))
    }
}
