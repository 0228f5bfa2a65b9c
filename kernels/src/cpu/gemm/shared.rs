//! Quantised rows that the threads of a job fill together: see [`crate::cpu::shared`].

#![allow(unsafe_code)] // Hands out what `Access` has found to be nobody else's.

use std::ops::Range;

use super::superblock::join_groups;
use super::{Group, QuantRow, QuantRows, QuantView, Superblock};
use crate::cpu::disjoint::Disjoint;
use crate::cpu::packed::Input;
use crate::cpu::quantise::{ScaleKind, quantise, quantise_superblocks};
use crate::cpu::shared::{Access, Mode, SharedRows};
use crate::cpu::thread_pool::{Claim, Phases};
use crate::cpu::{GROUP, SimdLevel};

/// Quantised rows that threads fill together.
#[derive(Debug)]
pub struct SharedCodes<'a> {
    phases: &'a Phases,
    access: &'a Access,
    /// Inputs of a row.
    inputs: usize,
    scales: ScaleKind,
    codes: Disjoint<'a, i8>,
    groups: Disjoint<'a, Group>,
    superblocks: Disjoint<'a, Superblock>,
}

/// Some columns of some quantised rows, to be written.
pub struct CodesBlock<'p> {
    shared: &'p SharedCodes<'p>,
    first_row: usize,
    rows: usize,
    columns: Range<usize>,
}

// === impl SharedCodes ===

// Functions panic if the claim belongs to another job, if the phase uses the rows in another way, or if rows or columns
// are out of range. Whatever they return ends with the claim, and so before the phase does.
impl<'a> SharedCodes<'a> {
    /// Borrows the rows for the threads of a job.
    pub fn new(rows: &'a mut QuantRows, phases: &'a Phases) -> SharedCodes<'a> {
        let QuantRows { inputs, scales, codes, groups, superblocks, access } = rows;
        access.reset(codes.len().checked_div(*inputs).unwrap_or(0), *inputs);
        SharedCodes {
            phases,
            access,
            inputs: *inputs,
            scales: *scales,
            codes: Disjoint::new(codes),
            groups: Disjoint::new(groups),
            superblocks: Disjoint::new(superblocks),
        }
    }

    /// The kind of all scales.
    #[inline]
    pub fn scales(&self) -> ScaleKind {
        self.scales
    }

    /// Whether groups must be joined to superblocks before a product takes the rows.
    #[inline]
    pub fn has_superblocks(&self) -> bool {
        self.scales == ScaleKind::Power
    }

    /// Quantises a whole row, which is then ready for a product. A phase may write each row once.
    pub fn write_row(&self, claim: &Claim<'_>, level: SimdLevel, row: usize, floats: &[f32]) {
        claim.assert_of(self.phases);
        self.access.hold_row(claim, row);
        // SAFETY: this phase hands out only rows, and this one only here.
        unsafe {
            if self.has_superblocks() {
                quantise_superblocks(level, floats, self.part(row, 0..self.inputs));
                self.join(level, row);
            } else {
                quantise(level, floats, self.part(row, 0..self.inputs));
            }
        }
    }

    /// Computes a row's superblocks, once all its groups were written in an earlier phase.
    pub fn join_groups(&self, claim: &Claim<'_>, level: SimdLevel, row: usize) {
        claim.assert_of(self.phases);
        self.access.hold_row(claim, row);
        // SAFETY: this phase hands out only rows, and this one only here.
        unsafe { self.join(level, row) };
    }

    /// Columns of some rows for writing; first column and number are multiples of 32. A phase hands them out once.
    #[inline]
    pub fn block<'p>(
        &'p self,
        claim: &'p Claim<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> CodesBlock<'p> {
        claim.assert_of(self.phases);
        assert!(columns.start.is_multiple_of(GROUP) && columns.end.is_multiple_of(GROUP));
        self.access.hold_block(claim, &rows, &columns);
        let (first_row, rows) = (rows.start, rows.len());
        CodesBlock { shared: self, first_row, rows, columns }
    }

    /// Moves rows to the places of others, in order: pairs of from and to. Their groups must not be joined yet. Must be
    /// the only piece of its phase that touches the rows.
    pub fn move_rows(&self, claim: &Claim<'_>, moves: impl Iterator<Item = (usize, usize)>) {
        claim.assert_of(self.phases);
        self.access.enter(claim, Mode::Whole);
        let span = |row: usize, width: usize| row * width..(row + 1) * width;
        let (inputs, groups) = (self.inputs, self.inputs / GROUP);
        // SAFETY: this phase hands out nothing else; the slices end here.
        let (codes, facts) = unsafe {
            (self.codes.part(0..self.codes.len()), self.groups.part(0..self.groups.len()))
        };
        for (from, to) in moves {
            codes.copy_within(span(from, inputs), to * inputs);
            facts.copy_within(span(from, groups), to * groups);
        }
    }

    /// Some rows as inputs of a product; `floats` holds the same rows.
    #[inline]
    pub fn input<'p>(
        &self,
        claim: &'p Claim<'_>,
        rows: Range<usize>,
        floats: &SharedRows<'a, f32>,
    ) -> Input<'p>
    where
        'a: 'p,
    {
        claim.assert_of(self.phases);
        self.access.enter(claim, Mode::Read);
        let (inputs, groups) = (self.inputs, self.inputs / GROUP);
        let blocks = self.scales.superblocks(inputs);
        let every = |width: usize| rows.start * width..rows.end * width;
        // SAFETY: nothing is written in this phase; the slices end before the phase does.
        unsafe {
            Input {
                rows: rows.len(),
                codes: QuantView {
                    inputs,
                    scales: self.scales,
                    count: rows.len(),
                    codes: self.codes.read(every(inputs)),
                    groups: self.groups.read(every(groups)),
                    superblocks: self.superblocks.read(every(blocks)),
                },
                floats: floats.read(claim, rows),
            }
        }
    }

    /// Starts prefetching the place of some columns of a row for writing, which takes it from other cores' caches.
    #[inline]
    pub fn prefetch_write(&self, row: usize, columns: Range<usize>) {
        let at = row * self.inputs;
        let (start, end) = (at + columns.start, at + columns.end);
        self.codes.prefetch_write(start..end);
        self.groups.prefetch_write(start / GROUP..end / GROUP);
    }

    /// The place of columns of a row.
    ///
    /// # Safety
    /// Nothing else may use them while the part lives.
    #[inline]
    unsafe fn part(&self, row: usize, columns: Range<usize>) -> QuantRow<'_> {
        let at = row * self.inputs;
        let (start, end) = (at + columns.start, at + columns.end);
        // SAFETY: the caller's promise; groups begin with their codes.
        unsafe {
            QuantRow {
                scales: self.scales,
                codes: self.codes.part(start..end),
                groups: self.groups.part(start / GROUP..end / GROUP),
            }
        }
    }

    /// # Safety
    /// Nothing else may use the row meanwhile.
    unsafe fn join(&self, level: SimdLevel, row: usize) {
        let span = |width: usize| row * width..(row + 1) * width;
        // SAFETY: the caller's promise.
        unsafe {
            let groups = self.groups.read(span(self.inputs / GROUP));
            let blocks = self.superblocks.part(span(self.scales.superblocks(self.inputs)));
            join_groups(level, groups, blocks);
        }
    }
}

// === impl CodesBlock ===

impl CodesBlock<'_> {
    /// The place of the columns of the block's row with this index.
    #[inline]
    pub fn row(&mut self, index: usize) -> QuantRow<'_> {
        assert!(index < self.rows, "row {index} of a block of {}", self.rows);
        // SAFETY: the block belongs to this value alone, and this borrow of it is unique.
        unsafe { self.shared.part(self.first_row + index, self.columns.clone()) }
    }
}
