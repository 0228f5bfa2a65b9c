//! What scores of a sample must look like, and which of them stand in the item already.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::own::{Begins, own_words};
use super::planted::scores_in;
use crate::domain::Scale;
use crate::prompt::{Message, Trust};

/// The shape of a sample's scores: how many, on which scale, and which ones are no verdict since
/// the prompt's untrusted text holds them. And where the sample's text begins.
#[derive(Debug, Clone)]
pub struct ScoreShape {
    pub(super) n_shown: usize,
    pub(super) scale: Scale,
    pub(super) begins: Begins,
    /// Scores that the caller's text holds; shared by the samples of a prompt.
    planted: Arc<Planted>,
}

/// Scores that the caller's text holds.
#[derive(Debug, Default)]
struct Planted {
    /// On a score line.
    lines: BTreeSet<Vec<i32>>,
    /// In a box anywhere, those of score lines among them.
    boxes: BTreeSet<Vec<i32>>,
}

// === impl ScoreShape ===

impl ScoreShape {
    /// `n_shown` scores on `scale`, with nothing planted.
    pub fn new(n_shown: usize, scale: Scale) -> Self {
        Self { n_shown, scale, begins: Begins::default(), planted: Arc::default() }
    }

    /// The same for a sample of this prompt. A box, or a line under a `Scores` heading, that stands
    /// in the prompt's untrusted text and has the shape of scores never counts as the model's: it
    /// cannot be told from a copy. Takes time linear in the prompt.
    ///
    /// A single number in a box is what answers to mathematics look like, so with one response shown such a box in the item
    /// bars the same box only where the model writes no score line.
    ///
    /// Cost: a judge that honestly comes to the very scores that the item names so fails its sample.
    pub fn of_prompt(messages: &[Message], n_shown: usize, scale: Scale) -> Self {
        let bare = Self::new(n_shown, scale);
        let untrusted = messages
            .iter()
            .flat_map(|message| &message.spans)
            .filter(|span| span.trust == Trust::Untrusted);
        let mut planted = Planted::default();
        for span in untrusted {
            // Read as they are, and as a copy of them would be.
            for text in [&*span.text, &own_words(&span.text, Begins::Plainly).0] {
                let found = scores_in(text, &bare);
                planted.lines.extend(found.lines);
                planted.boxes.extend(found.boxes);
            }
        }
        Self { planted: Arc::new(planted), ..bare }
    }

    /// The same for texts that begin so.
    #[must_use]
    pub fn beginning(self, begins: Begins) -> Self {
        Self { begins, ..self }
    }

    /// Where texts begin.
    pub fn begins(&self) -> Begins {
        self.begins
    }

    /// True for scores that stand in the prompt's untrusted text.
    pub(super) fn is_planted(&self, scores: &[i32]) -> bool {
        self.planted.boxes.contains(scores) || self.is_planted_line(scores)
    }

    /// True for scores that stand there on a score line.
    pub(super) fn is_planted_line(&self, scores: &[i32]) -> bool {
        self.planted.lines.contains(scores)
    }
}
