//! A file of verdicts, in the order of the items at every moment.
//!
//! ```text
//! FILE           verdicts in their place | lines of an earlier run that have not been placed yet
//! FILE.journal   verdicts that came before their turn, and what had to make room for one
//! ```
//!
//! A verdict in its turn is written behind those in their place. Where lines of an earlier run stand there, for items
//! that come later, those are set aside first: into the journal, and to the disk, before the file is cut. So whatever
//! ends the process, each verdict is in one of the two files, and the next run puts it in its place. When a run ends by
//! itself or by a signal, all go into the file, and the journal goes.
//!
//! The verdict of an item that has changed since goes when the item's own is taken, and no sooner. So does one that is not
//! the last word on its item; it also stays in its place where the new one says less.
//!
//! The journal is cut only once what was in it is on the disk in the file. Not promised: verdicts that a machine without
//! power had never put on its disk.

mod forget;
mod read;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use super::journal::{Journal, read_range};
use super::{Onto, SinkError, Turn, failed};
use crate::batch::order::InOrder;
use crate::batch::resume::{Again, Asked, Finished, JudgedBy, Known, Worth};

/// The output, with what is known of its lines.
#[derive(Debug)]
pub struct VerdictFile {
    name: String,
    file: File,
    /// Bytes of the file that hold verdicts in their place.
    placed: u64,
    /// Bytes of the file.
    len: u64,
    journal: Journal,
    /// Every verdict that was here before its turn: first those of the file, then those of the journal, in their order.
    lines: Vec<StoredLine>,
    finished: Finished,
    /// The first line that is not placed; those of the file before `n_in_file` follow `placed` without a gap.
    next_in_file: usize,
    n_in_file: usize,
    /// Lines that are not placed, and how many of them are in the journal.
    n_unplaced: usize,
    n_in_journal: usize,
    /// Verdicts whose items are being judged again, by the numbers of the items.
    again: BTreeMap<u64, Known>,
    /// `None` writes verdicts as they are ready.
    order: Option<InOrder<usize>>,
}

/// A whole line, by where it is.
#[derive(Debug)]
struct StoredLine {
    range: Range<u64>,
    place: LinePlace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePlace {
    File,
    Journal,
    /// In the file, where it belongs.
    Placed,
    /// Another verdict stands for its item now: it is left behind wherever it is.
    Gone,
    /// The same, among those that are placed.
    Gap,
}

/// An opened output.
pub struct Opened {
    pub file: VerdictFile,
    pub judged_by: Option<JudgedBy>,
}

// === impl VerdictFile ===

impl VerdictFile {
    /// Opens or makes the file. Nothing in it is changed before the first verdict is written.
    pub fn open(
        path: &Path,
        file: File,
        onto: Onto,
        asked: Option<&Asked>,
        ordered: bool,
    ) -> Result<Opened, SinkError> {
        let name = path.display().to_string();
        let failed = failed(&name);
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(SinkError::InUse { name }),
            // Some file systems know no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let len = file.metadata().map_err(failed)?.len();
        let real_path = path.canonicalize().map_err(failed)?;
        let journal = Journal::beside(&real_path).map_err(failed)?;
        let mut verdicts = Self {
            name,
            file,
            placed: 0,
            len,
            journal,
            lines: Vec::new(),
            finished: Finished::default(),
            next_in_file: 0,
            n_in_file: 0,
            n_unplaced: 0,
            n_in_journal: 0,
            again: BTreeMap::new(),
            order: ordered.then(InOrder::new),
        };
        let judged_by = match onto {
            Onto::Nothing => verdicts.refuse_content().map(|()| None)?,
            Onto::Same | Onto::Any => verdicts.read_lines(asked, Again::Unscored)?,
            Onto::SameWhole => verdicts.read_lines(asked, Again::Partial)?,
        };
        Ok(Opened { file: verdicts, judged_by })
    }

    /// The verdicts that were here when it was opened.
    pub fn finished(&self) -> Finished {
        self.finished.clone()
    }

    /// The turn of an item, which may be early.
    pub fn take(&mut self, number: u64, turn: Turn<'_>) -> Result<(), SinkError> {
        let stands = match &turn {
            Turn::Again(known) => {
                self.again.insert(number, (*known).clone());
                return Ok(());
            }
            Turn::Judged { worth, .. } => {
                let known = self.again.remove(&number);
                known.filter(|known| self.worth_of(known).is_some_and(|before| before > *worth))
            }
            Turn::Known(known) => Some((*known).clone()),
            Turn::Nothing => self.again.remove(&number),
        };
        let line = match (stands, turn) {
            (Some(known), _) => {
                self.forget_others(&known.id, Some(known.line));
                Some(known.line)
            }
            (None, Turn::Judged { id, line, .. }) => {
                let line = self.judged(number, line.as_bytes())?;
                self.forget_others(id, None);
                line
            }
            (None, _) => None,
        };
        let Some(order) = &mut self.order else { return Ok(()) };
        order.put(number, line).into_iter().try_for_each(|line| self.place(line))
    }

    /// Writes a verdict, or keeps it until its turn: then it is a line like those that were here before.
    fn judged(&mut self, number: u64, line: &[u8]) -> Result<Option<usize>, SinkError> {
        match &self.order {
            Some(order) if !order.is_turn_of(number) => {
                let kept = self.journal.append(line, &self.file);
                let range = kept.map_err(failed(&self.journal.name()))?;
                self.keep(StoredLine { range, place: LinePlace::Journal });
                return Ok(Some(self.lines.len() - 1));
            }
            Some(_) => {}
            None => {
                self.place_rest()?;
                let range = self.append(line)?;
                self.lines.push(StoredLine { range, place: LinePlace::Placed });
                return Ok(None);
            }
        }
        self.append(line)?;
        Ok(None)
    }

    /// Puts everything into the file that waits for its turn, and what no item of this run stands for behind it; then
    /// the journal goes.
    pub fn finish(mut self) -> Result<(), SinkError> {
        // What was to be judged again and was not stays in its place.
        for (number, known) in std::mem::take(&mut self.again) {
            self.take(number, Turn::Known(&known))?;
        }
        let held_back = self.order.as_mut().map(InOrder::take_rest).unwrap_or_default();
        held_back.into_iter().try_for_each(|line| self.place(line))?;
        self.place_rest()?;
        self.close_gaps();
        self.place_rest()?;
        self.make_room()?;
        if self.journal.may_be_on_disk() {
            self.file.sync_data().map_err(failed(&self.name))?;
        }
        let name = self.journal.name();
        self.journal.remove().map_err(failed(&name))
    }

    fn worth_of(&self, known: &Known) -> Option<Worth> {
        let mut lines = self.finished.of(&known.id).iter();
        lines.find(|line| line.line == known.line).map(|line| line.worth)
    }

    fn refuse_content(&self) -> Result<(), SinkError> {
        if self.len > 0 {
            return Err(SinkError::NotEmpty { name: self.name.clone() });
        }
        if !self.journal.is_empty() {
            return Err(SinkError::NotEmpty { name: self.journal.name() });
        }
        Ok(())
    }

    /// Puts every line in its place that nobody placed, in the order in which they stand.
    fn place_rest(&mut self) -> Result<(), SinkError> {
        if self.n_unplaced == 0 {
            return Ok(());
        }
        (0..self.lines.len()).try_for_each(|line| self.place(line))
    }

    fn place(&mut self, line: usize) -> Result<(), SinkError> {
        if !matches!(self.lines[line].place, LinePlace::File | LinePlace::Journal) {
            return Ok(());
        }
        let follows = line == self.next_in_file && line < self.n_in_file;
        if follows {
            self.placed = self.lines[line].range.end;
            self.next_in_file += 1;
        } else {
            self.make_room()?;
            let kept = self.journal.read(&self.lines[line].range);
            let placed = self.append(&kept.map_err(failed(&self.journal.name()))?)?;
            self.lines[line].range = placed;
            self.n_in_journal -= 1;
        }
        self.lines[line].place = LinePlace::Placed;
        self.n_unplaced -= 1;
        if !follows && self.n_in_journal == 0 {
            if self.journal.may_be_on_disk() {
                self.file.sync_data().map_err(failed(&self.name))?;
            }
            self.journal.cut(0).map_err(failed(&self.journal.name()))?;
        }
        Ok(())
    }

    fn keep(&mut self, line: StoredLine) {
        self.n_unplaced += 1;
        self.n_in_journal += usize::from(line.place == LinePlace::Journal);
        self.lines.push(line);
    }

    fn append(&mut self, line: &[u8]) -> Result<Range<u64>, SinkError> {
        self.make_room()?;
        let start = self.placed;
        let written =
            self.file.seek(SeekFrom::Start(self.placed)).and_then(|_| self.file.write_all(line));
        written.map_err(failed(&self.name))?;
        self.placed += line.len() as u64;
        self.len = self.placed;
        Ok(start..self.placed)
    }

    /// Sets aside what stands behind the last placed verdict: lines go to the journal, then the file is cut.
    fn make_room(&mut self) -> Result<(), SinkError> {
        if self.len == self.placed {
            return Ok(());
        }
        let behind = self.next_in_file..self.lines.len();
        self.n_in_file = self.next_in_file;
        for line in &mut self.lines[behind] {
            if line.place == LinePlace::File {
                let bytes = read_range(&mut self.file, &line.range).map_err(failed(&self.name))?;
                let kept = self.journal.append(&bytes, &self.file);
                line.range = kept.map_err(failed(&self.journal.name()))?;
                line.place = LinePlace::Journal;
                self.n_in_journal += 1;
            }
        }
        self.journal.sync().map_err(failed(&self.journal.name()))?;
        self.file.set_len(self.placed).map_err(failed(&self.name))?;
        self.len = self.placed;
        Ok(())
    }
}
