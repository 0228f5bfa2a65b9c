//! Verdicts in the file whose items have changed since: an id names one item, and what was judged under it before goes.

use super::{LinePlace, VerdictFile};
use crate::batch::resume::FinishedLine;

// === impl VerdictFile ===

impl VerdictFile {
    /// Forgets the verdicts under an item's id that are of other items: all that there are when it was judged now, else those
    /// that tell another digest than the one which is known to be its own, and those that are not the last word beside it.
    pub(super) fn forget_others(&mut self, id: &str, own: Option<usize>) {
        let finished = self.finished.clone();
        let lines = finished.of(id);
        let digest = own.and_then(|own| lines.iter().find(|other| other.line == own));
        let digest = digest.and_then(|own| own.item.as_ref());
        let is_other = |line: &&FinishedLine| match own {
            None => true,
            Some(own) if line.line == own => false,
            Some(_) => line.again || (line.item.is_some() && line.item.as_ref() != digest),
        };
        lines.iter().filter(is_other).for_each(|other| self.forget(other.line));
    }

    pub(super) fn forget(&mut self, line: usize) {
        let place = match self.lines[line].place {
            LinePlace::Placed => LinePlace::Gap,
            LinePlace::File => {
                // What stands behind it follows no more.
                self.n_in_file = self.n_in_file.min(line);
                LinePlace::Gone
            }
            LinePlace::Journal => {
                self.n_in_journal -= 1;
                LinePlace::Gone
            }
            LinePlace::Gone | LinePlace::Gap => return,
        };
        self.n_unplaced -= usize::from(place == LinePlace::Gone);
        self.lines[line].place = place;
    }

    /// Has what is placed behind a gap placed once more, without it. Only without order is anything placed before its item is
    /// met; then the lines stand in the file as they stand here.
    pub(super) fn close_gaps(&mut self) {
        let gap = self.lines.iter().position(|line| line.place == LinePlace::Gap);
        let Some(gap) = gap else { return };
        self.placed = self.lines[gap].range.start;
        (self.next_in_file, self.n_in_file) = (gap, gap);
        for line in &mut self.lines[gap..] {
            if line.place == LinePlace::Placed {
                line.place = LinePlace::File;
                self.n_unplaced += 1;
            }
        }
    }
}
