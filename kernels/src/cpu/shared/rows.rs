//! Rows of elements.

#![allow(unsafe_code)] // Hands out what `Access` has found to be nobody else's.

use std::marker::PhantomData;
use std::ops::Range;

use super::access::{Access, Mode};
use crate::cpu::disjoint::Disjoint;
use crate::cpu::thread_pool::{Claim, Phases};

/// Rows of equal width, one after the other.
#[derive(Debug, Default)]
pub struct Rows<T> {
    width: usize,
    elements: Vec<T>,
    access: Access,
}

/// The same, while the threads of a job fill them together.
#[derive(Debug)]
pub struct SharedRows<'a, T> {
    phases: &'a Phases,
    access: &'a Access,
    rows: usize,
    width: usize,
    elements: Disjoint<'a, T>,
}

/// Some columns of some rows, to be written.
#[derive(Debug)]
pub struct Block<'a, T> {
    /// The first row's first column.
    start: *mut T,
    rows: usize,
    columns: usize,
    /// Elements from one row to the next.
    stride: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// === impl Rows ===

impl<T: Copy + Default> Rows<T> {
    /// Makes room; contents are unspecified.
    pub fn resize(&mut self, rows: usize, width: usize) {
        self.width = width;
        self.elements.resize(rows * width, T::default());
    }

    /// All rows.
    pub fn as_slice(&self) -> &[T] {
        &self.elements
    }

    /// Lends the rows to the threads of a job.
    pub fn share<'a>(&'a mut self, phases: &'a Phases) -> SharedRows<'a, T> {
        let rows = self.elements.len().checked_div(self.width).unwrap_or(0);
        self.access.reset(rows, self.width);
        SharedRows {
            phases,
            access: &self.access,
            rows,
            width: self.width,
            elements: Disjoint::new(&mut self.elements),
        }
    }
}

// === impl SharedRows ===

// Functions panic if the claim belongs to another job, if the phase uses the rows in another way, or if rows or columns
// are out of range. Whatever they return ends with the claim, and so before the phase does.
impl<'a, T> SharedRows<'a, T> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A row for writing; a phase hands it out once.
    #[allow(clippy::mut_from_ref)] // `Access` keeps others away.
    #[inline]
    pub fn row<'p>(&self, claim: &'p Claim<'_>, row: usize) -> &'p mut [T]
    where
        'a: 'p,
    {
        claim.assert_of(self.phases);
        self.access.hold_row(claim, row);
        // SAFETY: this phase hands out only rows, and this one only here; its slice ends before the phase does.
        unsafe { self.elements.part(row * self.width..(row + 1) * self.width) }
    }

    /// Columns of some rows for writing; a phase hands them out once, by panels of 32 columns.
    #[inline]
    pub fn block<'p>(
        &self,
        claim: &'p Claim<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Block<'p, T>
    where
        'a: 'p,
    {
        claim.assert_of(self.phases);
        self.access.hold_block(claim, &rows, &columns);
        Block {
            start: self.elements.start(rows.start * self.width + columns.start),
            rows: rows.len(),
            columns: columns.len(),
            stride: self.width,
            borrow: PhantomData,
        }
    }

    /// All rows, for the only piece of the phase that touches them.
    #[allow(clippy::mut_from_ref)] // `Access` keeps others away.
    pub fn whole<'p>(&self, claim: &'p Claim<'_>) -> &'p mut [T]
    where
        'a: 'p,
    {
        claim.assert_of(self.phases);
        self.access.enter(claim, Mode::Whole);
        // SAFETY: this phase hands out nothing else; the slice ends before the phase does.
        unsafe { self.elements.part(0..self.rows * self.width) }
    }

    /// Moves rows to the places of others, in order: pairs of from and to. Must be the only piece of its phase that
    /// touches the rows.
    pub fn move_rows(&self, claim: &Claim<'_>, moves: impl Iterator<Item = (usize, usize)>)
    where
        T: Copy,
    {
        let (all, width) = (self.whole(claim), self.width);
        for (from, to) in moves {
            all.copy_within(from * width..(from + 1) * width, to * width);
        }
    }

    /// Some rows for reading, in a phase that writes none.
    #[inline]
    pub fn read<'p>(&self, claim: &'p Claim<'_>, rows: Range<usize>) -> &'p [T]
    where
        'a: 'p,
    {
        claim.assert_of(self.phases);
        self.access.enter(claim, Mode::Read);
        // SAFETY: nothing is written in this phase; the slice ends before the phase does.
        unsafe { self.elements.read(rows.start * self.width..rows.end * self.width) }
    }

    /// Starts prefetching columns of a row for writing, which takes them from other cores' caches.
    #[inline]
    pub fn prefetch_write(&self, row: usize, columns: &Range<usize>) {
        let at = row * self.width;
        self.elements.prefetch_write(at + columns.start..at + columns.end);
    }
}

// === impl Block ===

impl<T> Block<'_, T> {
    /// The columns of the block's row with this index.
    #[inline]
    pub fn row(&mut self, index: usize) -> &mut [T] {
        assert!(index < self.rows, "row {index} of a block of {}", self.rows);
        // SAFETY: the block is inside the rows and belongs to this value alone; its rows do not overlap, because it has
        // at most `stride` columns.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index * self.stride), self.columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the job in one thread, over the phases of a job on 100 rows of 64.
    fn run(job: impl FnOnce(&SharedRows<'_, f32>, &mut crate::cpu::thread_pool::PoolThread<'_>)) {
        let (mut rows, mut phases) = (Rows::default(), Phases::default());
        rows.resize(100, 64);
        phases.restart(3, 1);
        job(&rows.share(&phases), &mut phases.thread(0));
    }

    /// Whether the two panic if different pieces do them in one phase.
    fn clash(
        one: impl Fn(&SharedRows<'_, f32>, &Claim<'_>),
        other: impl Fn(&SharedRows<'_, f32>, &Claim<'_>),
    ) -> bool {
        let both = || {
            run(|rows, thread| {
                thread.run(
                    2,
                    |claim, piece| {
                        if piece == 0 { one(rows, claim) } else { other(rows, claim) }
                    },
                );
            });
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(both)).is_err()
    }

    fn block(
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> impl Fn(&SharedRows<'_, f32>, &Claim<'_>) {
        move |shared, claim| {
            shared.block(claim, rows.clone(), columns.clone());
        }
    }

    #[test]
    fn what_overlaps_in_a_phase_panics_and_what_does_not_is_handed_out() {
        let row = |row: usize| {
            move |rows: &SharedRows<'_, f32>, claim: &Claim<'_>| {
                rows.row(claim, row);
            }
        };
        assert!(clash(row(3), row(3)));
        assert!(!clash(row(3), row(4)));
        for (rows, columns, clashes) in [
            (0..100, 0..64, true),
            (50..51, 31..32, true),
            (99..100, 0..1, true),
            (0..47, 0..32, false),
            (47..48, 0..32, true),
            (0..100, 32..64, false),
            (47..47, 0..64, false),
        ] {
            let found = clash(block(47..100, 0..20), block(rows.clone(), columns.clone()));
            assert_eq!(found, clashes, "{rows:?} {columns:?}");
        }
    }

    #[test]
    fn a_phase_uses_rows_in_one_way() {
        let read = |rows: &SharedRows<'_, f32>, claim: &Claim<'_>| {
            rows.read(claim, 0..1);
        };
        let row = |rows: &SharedRows<'_, f32>, claim: &Claim<'_>| {
            rows.row(claim, 9);
        };
        let whole = |rows: &SharedRows<'_, f32>, claim: &Claim<'_>| {
            rows.whole(claim);
        };
        assert!(!clash(read, read));
        assert!(clash(read, row) && clash(row, read) && clash(row, block(2..3, 0..1)));
        assert!(clash(whole, whole) && clash(whole, read) && clash(row, whole));
    }

    #[test]
    fn what_is_outside_panics() {
        let nothing = |_: &SharedRows<'_, f32>, _: &Claim<'_>| {};
        assert!(clash(block(99..101, 0..1), nothing) && clash(block(0..1, 60..65), nothing));
        assert!(clash(|rows, claim| rows.row(claim, 100).fill(1.0), nothing));
        assert!(clash(|rows, claim| assert!(rows.read(claim, 99..101).is_empty()), nothing));
        let past = |rows: &SharedRows<'_, f32>, claim: &Claim<'_>| {
            rows.block(claim, 5..7, 0..9).row(2);
        };
        assert!(clash(past, nothing));
    }

    #[test]
    fn a_claim_of_another_job_panics() {
        let mut other = Phases::default();
        other.restart(1, 1);
        let strange = || {
            run(|rows, _| {
                other.thread(0).run(1, |claim, _| assert!(!rows.read(claim, 0..1).is_empty()));
            });
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(strange)).is_err());
    }

    #[test]
    fn a_later_phase_reads_what_blocks_were_given() {
        run(|rows, thread| {
            thread.run(2, |claim, panel| {
                let mut block = rows.block(claim, 0..100, panel * 32..panel * 32 + 32);
                (0..100).for_each(|row| block.row(row).fill((row * 2 + panel) as f32));
            });
            thread.run(100, |claim, row| rows.row(claim, row)[0] += 0.5);
            thread.run(1, |claim, _| {
                let seventh = rows.read(claim, 7..8);
                assert_eq!([seventh[0], seventh[1], seventh[63]], [14.5, 14.0, 15.0]);
            });
        });
    }
}
