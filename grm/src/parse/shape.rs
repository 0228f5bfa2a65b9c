//! The shape required of a sample's scores, and which scores the item already contains.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::own::{Begins, own_words};
use super::planted::scores_in;
use crate::domain::Scale;
use crate::prompt::{Message, Trust};

/// The shape of a sample's scores: how many, on which scale, and which ones do not count because the prompt's untrusted
/// text contains them. Also says where the sample's text begins.
#[derive(Debug, Clone)]
pub struct ScoreShape {
    pub(super) n_shown: usize,
    pub(super) scale: Scale,
    pub(super) begins: Begins,
    /// Scores that the caller's text contains; shared by all samples of a prompt.
    planted: Arc<Planted>,
}

/// Scores that the caller's text contains.
#[derive(Debug, Default)]
struct Planted {
    /// On a score line.
    lines: BTreeSet<Vec<i32>>,
    /// In a box anywhere, including those on score lines.
    boxes: BTreeSet<Vec<i32>>,
}

// === impl ScoreShape ===

impl ScoreShape {
    /// `n_shown` scores on `scale`, with nothing planted.
    pub fn new(n_shown: usize, scale: Scale) -> Self {
        Self { n_shown, scale, begins: Begins::default(), planted: Arc::default() }
    }

    /// The same for a sample of this prompt. If the prompt's untrusted text has a box, or a line under a `Scores`
    /// heading, with the shape of scores, then these scores never count as the model's: they cannot be distinguished
    /// from a copy. Takes time linear in the prompt.
    ///
    /// Answers to mathematics problems are single numbers in boxes. With one response shown, such a box in the item
    /// therefore invalidates the same box only if the model writes no score line.
    ///
    /// The cost: if a judge honestly arrives at exactly the scores that the item contains, its sample fails.
    pub fn of_prompt(messages: &[Message], n_shown: usize, scale: Scale) -> Self {
        let bare = Self::new(n_shown, scale);
        let untrusted = messages
            .iter()
            .flat_map(|message| &message.spans)
            .filter(|span| span.trust == Trust::Untrusted);
        let mut planted = Planted::default();
        for span in untrusted {
            // Both as they are and as a copy of them would be read.
            for text in [&*span.text, &own_words(&span.text, Begins::Plainly).0] {
                let found = scores_in(text, &bare);
                planted.lines.extend(found.lines);
                planted.boxes.extend(found.boxes);
            }
        }
        Self { planted: Arc::new(planted), ..bare }
    }

    /// The same for texts that begin as `begins` says.
    #[must_use]
    pub fn beginning(self, begins: Begins) -> Self {
        Self { begins, ..self }
    }

    /// Where texts begin.
    pub fn begins(&self) -> Begins {
        self.begins
    }

    /// True for scores that the prompt's untrusted text contains.
    pub(super) fn is_planted(&self, scores: &[i32]) -> bool {
        self.planted.boxes.contains(scores) || self.is_planted_line(scores)
    }

    /// True for scores that it contains on a score line.
    pub(super) fn is_planted_line(&self, scores: &[i32]) -> bool {
        self.planted.lines.contains(scores)
    }
}
