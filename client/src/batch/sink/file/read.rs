//! What the file and its journal hold when they are opened.

use std::collections::HashMap;
use std::io::BufReader;

use super::{LinePlace, StoredLine, VerdictFile};
use crate::batch::resume::{
    Again, Asked, Finished, FinishedLine, JudgedBy, PastLine, PastVerdicts,
};
use crate::batch::sink::{SinkError, failed};

// === impl VerdictFile ===

impl VerdictFile {
    /// Reads both files.
    pub(super) fn read_lines(
        &mut self,
        asked: Option<&Asked>,
        again: Again,
    ) -> Result<Option<JudgedBy>, SinkError> {
        let of_file = PastVerdicts::read(BufReader::new(&self.file), asked, again)
            .map_err(|problem| SinkError::Resume { name: self.name.clone(), problem })?;
        let of_journal = PastVerdicts::read(self.journal.reader(), asked, again)
            .map_err(|problem| SinkError::Resume { name: self.journal.name(), problem })?;
        self.journal.cut(of_journal.whole_bytes).map_err(failed(&self.journal.name()))?;
        self.n_in_file = of_file.lines.len();
        let mut finished = HashMap::<String, Vec<FinishedLine>>::new();
        let places = [LinePlace::File, LinePlace::Journal];
        for (place, lines) in std::iter::zip(places, [of_file.lines, of_journal.lines]) {
            for PastLine { id, range, item, worth, again } in lines {
                let line = self.lines.len();
                self.keep(StoredLine { range, place });
                let new = FinishedLine { line, item, worth, again };
                let same_id = finished.entry(id).or_default();
                let Some(known) = same_id.iter_mut().find(|known| known.item == new.item) else {
                    same_id.push(new);
                    continue;
                };
                // A run that ended between two writes left it in both, or beside the one that it was to replace.
                if place == LinePlace::Journal || again || known.again {
                    let loses = if known.worth < worth { known.line } else { line };
                    if loses == known.line {
                        *known = new;
                    }
                    self.forget(loses);
                }
            }
        }
        self.finished = Finished::new(finished);
        Ok(JudgedBy::first(of_file.judged_by, of_journal.judged_by))
    }
}
