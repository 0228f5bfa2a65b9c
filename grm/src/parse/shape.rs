//! What scores of a sample must look like, and which of them stand in the item already.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::heading::scores_heading;
use super::own::own_words;
use super::score_box::{Candidate, boxes, first_bracketed};
use crate::domain::Scale;
use crate::prompt::{Message, Trust};

/// What may stand before a `Scores` heading in a caller's text besides a heading's own markup: the
/// backslash that escapes it, and the mark of a quoted line.
const BEFORE_HEADING: [char; 4] = ['\\', '>', ' ', '\t'];
/// What may stand around the numbers of a score line without a box.
const AROUND_NUMBERS: [char; 10] = [':', '：', '*', '_', '$', ' ', '\t', '(', ')', '.'];

/// The shape of a sample's scores: how many, on which scale, and which ones are no verdict since
/// the prompt's untrusted text holds them.
#[derive(Debug, Clone)]
pub struct ScoreShape {
    pub(super) n_shown: usize,
    pub(super) scale: Scale,
    /// Scores that the caller's text holds; shared by the samples of a prompt.
    planted: Arc<BTreeSet<Vec<i32>>>,
}

// === impl ScoreShape ===

impl ScoreShape {
    /// `n_shown` scores on `scale`, with nothing planted.
    pub fn new(n_shown: usize, scale: Scale) -> Self {
        Self { n_shown, scale, planted: Arc::default() }
    }

    /// The same for a sample of this prompt. A box, or a line under a `Scores` heading, that stands
    /// in the prompt's untrusted text and has the shape of scores never counts as the model's: it
    /// cannot be told from a copy. Takes time linear in the prompt.
    ///
    /// Cost: a judge that honestly comes to the very scores that the item names fails its sample.
    pub fn of_prompt(messages: &[Message], n_shown: usize, scale: Scale) -> Self {
        let bare = Self::new(n_shown, scale);
        let untrusted = messages
            .iter()
            .flat_map(|message| &message.spans)
            .filter(|span| span.trust == Trust::Untrusted);
        // Read as they are, and as a copy of them would be.
        let planted = untrusted
            .flat_map(|span| {
                [bare.scores_in(&span.text), bare.scores_in(&own_words(&span.text).0)].concat()
            })
            .collect();
        Self { planted: Arc::new(planted), ..bare }
    }

    /// True for scores that stand in the prompt's untrusted text.
    pub(super) fn is_planted(&self, scores: &[i32]) -> bool {
        self.planted.contains(scores)
    }

    /// Everything of this shape that a caller's text holds in a box or under a heading.
    fn scores_in(&self, text: &str) -> Vec<Vec<i32>> {
        let mut found = boxes(text);
        for (at, _) in text.match_indices('\n').chain(std::iter::once((0, ""))) {
            let line =
                text[at..].trim_start_matches(['\n', '\r']).trim_start_matches(BEFORE_HEADING);
            let Some(end) = scores_heading(line) else { continue };
            let after = line[end..].trim_start_matches(AROUND_NUMBERS).trim_start();
            let after = after.trim_start_matches(BEFORE_HEADING);
            let first_line = after.lines().next().unwrap_or_default();
            found.extend(first_bracketed(line, end));
            found.push(Candidate::bare(first_line.trim_matches(AROUND_NUMBERS)));
        }
        found.iter().filter_map(|candidate| candidate.numbers(self).ok()).collect()
    }
}
