//! Tells a free sample where to stop.

use super::heading::last_scores_heading;
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
}

// === impl ScoreBoxWatch ===

impl ScoreBoxWatch {
    /// A watch over a sample that shows `n_shown` responses.
    pub fn new(n_shown: usize, scale: Scale) -> Self {
        Self { n_shown, scale, seen_bytes: 0 }
    }

    /// True when the score box is complete. `text` is the whole text so far, longer each time; the
    /// work is done only where a brace has closed since.
    pub fn look(&mut self, text: &str) -> bool {
        let fresh = &text.as_bytes()[self.seen_bytes.min(text.len())..];
        self.seen_bytes = text.len();
        fresh.contains(&b'}') && has_score_box(text, self.n_shown, self.scale)
    }
}

fn has_score_box(text: &str, n_shown: usize, scale: Scale) -> bool {
    let Some(heading) = last_scores_heading(text) else { return false };
    boxes(&text[heading.end..]).iter().any(|found| found.read(n_shown, scale).is_ok())
}
