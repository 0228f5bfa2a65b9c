//! Which accesses to a buffer a phase allows.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::cpu::PANEL;
use crate::cpu::thread_pool::Claim;

/// Rows whose holds share a word, in its lower bits; the upper bits have the phase.
const WORD_ROWS: usize = 48;

/// How a buffer is used in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is read, by any piece.
    Read,
    /// Every row is written by one piece.
    Rows,
    /// Every block of columns is written by one piece.
    Blocks,
    /// Byte by byte, with atomic stores.
    Bytes,
    /// One piece writes and reads all of it.
    Whole,
}

/// The parts of a buffer that were handed out. Holds end with their phase, since a later phase has another number.
///
/// All orderings are relaxed. The modification order of a single atomic decides who holds what; data passes only from
/// phase to phase, and phases are ordered by the count of their finished pieces.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// The newest phase that touched the buffer, and its mode.
    mode: AtomicU64,
    rows: Vec<RowHold>,
    /// For every panel of columns, its words of rows: the newest phase, and a bit for every row that is held.
    blocks: Vec<AtomicU64>,
    columns: usize,
    /// Words per panel.
    words: usize,
}

/// The newest phase that holds a row. Rows are often claimed by different threads, so each has its own cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct RowHold(AtomicU32);

// === impl Access ===

impl Access {
    /// Clears all holds, for a new job with this many rows and columns.
    pub(crate) fn reset(&mut self, rows: usize, columns: usize) {
        self.mode = AtomicU64::new(0);
        (self.columns, self.words) = (columns, rows.div_ceil(WORD_ROWS));
        self.rows.clear();
        self.rows.resize_with(rows, RowHold::default);
        self.blocks.clear();
        self.blocks.resize_with(columns.div_ceil(PANEL) * self.words, AtomicU64::default);
    }

    /// Registers how the claim's phase uses the buffer.
    ///
    /// # Panics
    /// The phase already uses it in another way, or a second piece wants the whole.
    #[inline]
    pub(crate) fn enter(&self, claim: &Claim<'_>, mode: Mode) {
        let phase = u64::from(claim.phase());
        let wanted = phase << 8 | mode as u64;
        let mut found = self.mode.load(Ordering::Relaxed);
        while found != wanted || mode == Mode::Whole {
            assert!(found >> 8 != phase, "a phase uses a buffer in two ways, or as a whole twice");
            // No thread can be in another phase, because this phase's claim is alive.
            let (swap, order) = (wanted, Ordering::Relaxed);
            match self.mode.compare_exchange(found, swap, order, order) {
                Ok(_) => return,
                Err(now) => found = now,
            }
        }
    }

    /// Holds a row until the phase ends.
    ///
    /// # Panics
    /// It is held already, or the row does not exist.
    #[inline]
    pub(crate) fn hold_row(&self, claim: &Claim<'_>, row: usize) {
        self.enter(claim, Mode::Rows);
        let phase = u32::from(claim.phase());
        let before = self.rows[row].0.swap(phase, Ordering::Relaxed);
        assert!(before != phase, "row {row} is handed out twice in a phase");
    }

    /// Holds columns of some rows until the phase ends, by panels of 32 columns: a block that starts in a panel holds
    /// the whole panel.
    ///
    /// # Panics
    /// Some are held already, or outside the buffer.
    #[inline]
    pub(crate) fn hold_block(
        &self,
        claim: &Claim<'_>,
        rows: &Range<usize>,
        columns: &Range<usize>,
    ) {
        self.enter(claim, Mode::Blocks);
        assert!(rows.start <= rows.end && rows.end <= self.rows.len(), "no such rows");
        assert!(columns.start <= columns.end && columns.end <= self.columns, "no such columns");
        for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
            let words = &self.blocks[panel * self.words..][..self.words];
            let first = rows.start / WORD_ROWS;
            for (index, word) in words[first..rows.end.div_ceil(WORD_ROWS)].iter().enumerate() {
                let start = (first + index) * WORD_ROWS;
                let upto = |row: usize| (1u64 << (row.max(start) - start).min(WORD_ROWS)) - 1;
                hold(word, claim.phase(), upto(rows.end) & !upto(rows.start));
            }
        }
    }
}

/// Holds the rows of a mask.
#[inline]
fn hold(word: &AtomicU64, phase: u16, mask: u64) {
    let phase = u64::from(phase);
    let mut found = word.load(Ordering::Relaxed);
    loop {
        let held = if found >> WORD_ROWS == phase { found & ((1 << WORD_ROWS) - 1) } else { 0 };
        assert!(held & mask == 0, "columns of a row are handed out twice in a phase");
        let (swap, order) = (phase << WORD_ROWS | held | mask, Ordering::Relaxed);
        match word.compare_exchange(found, swap, order, order) {
            Ok(_) => return,
            Err(now) => found = now,
        }
    }
}
