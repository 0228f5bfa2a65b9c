//! Tells a free sample where to stop.

use super::heading::scores_heading;
use super::score_box::boxes;
use crate::domain::Scale;

/// Fires once the text under the last `Scores` heading holds a box of the right shape. A box
/// quoted in the critique, or one with another count, fires nothing.
#[derive(Debug, Clone)]
pub struct ScoreBoxWatch {
    n_shown: usize,
    scale: Scale,
    /// Bytes that were looked at.
    seen_bytes: usize,
    /// Start of the last line: what stands before it is decided for good.
    line_start: usize,
    /// End of the last `Scores` heading before `line_start`.
    heading_end: Option<usize>,
}

// === impl ScoreBoxWatch ===

impl ScoreBoxWatch {
    /// A watch over a sample that shows `n_shown` responses.
    pub fn new(n_shown: usize, scale: Scale) -> Self {
        Self { n_shown, scale, seen_bytes: 0, line_start: 0, heading_end: None }
    }

    /// True when the score box is complete. `text` is the whole text so far, longer each time; a
    /// shorter one begins anew. Looks at fresh text only; where a brace has closed, also at what
    /// stands under the heading.
    pub fn look(&mut self, text: &str) -> bool {
        if text.len() < self.seen_bytes {
            *self = Self::new(self.n_shown, self.scale);
        }
        let fresh = text.as_bytes().get(self.seen_bytes..).unwrap_or_default();
        self.seen_bytes = text.len();
        if fresh.contains(&b'\n') {
            self.settle_lines(text);
        }
        fresh.contains(&b'}') && self.has_score_box(text)
    }

    /// Takes note of every line that has ended.
    fn settle_lines(&mut self, text: &str) {
        let unsettled = text.get(self.line_start..).unwrap_or_default();
        for line in unsettled.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            if let Some(end) = scores_heading(line) {
                self.heading_end = Some(self.line_start + end);
            }
            self.line_start += line.len();
        }
    }

    fn has_score_box(&self, text: &str) -> bool {
        let last_line = text.get(self.line_start..).unwrap_or_default();
        let on_last_line = scores_heading(last_line).map(|end| self.line_start + end);
        let under_heading =
            on_last_line.or(self.heading_end).and_then(|end| text.get(end..)).unwrap_or_default();
        boxes(under_heading).iter().any(|found| found.read(self.n_shown, self.scale).is_ok())
    }
}
