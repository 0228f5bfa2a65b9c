//! Quantised rows that the threads of a job fill together.

#![allow(unsafe_code)] // Hands out disjoint parts.

use std::ops::Range;

use super::superblock::join_groups;
use super::{Group, QuantRow, QuantRows, QuantView, Superblock};
use crate::cpu::disjoint::Disjoint;
use crate::cpu::packed::Input;
use crate::cpu::quantise::ScaleKind;
use crate::cpu::{GROUP, SimdLevel};

/// Quantised rows that threads write in disjoint parts.
pub struct SharedCodes<'a> {
    /// Inputs of a row.
    inputs: usize,
    scales: ScaleKind,
    codes: Disjoint<'a, i8>,
    groups: Disjoint<'a, Group>,
    superblocks: Disjoint<'a, Superblock>,
}

// === impl SharedCodes ===

impl<'a> SharedCodes<'a> {
    /// Borrows the rows for the threads of a job.
    pub fn new(rows: &'a mut QuantRows) -> SharedCodes<'a> {
        SharedCodes {
            inputs: rows.inputs,
            scales: rows.scales,
            codes: Disjoint::new(&mut rows.codes),
            groups: Disjoint::new(&mut rows.groups),
            superblocks: Disjoint::new(&mut rows.superblocks),
        }
    }

    /// The place of `count` inputs of a row, from `first` on (both multiples of 32).
    ///
    /// # Safety
    /// Nobody else uses these inputs meanwhile.
    #[inline]
    pub unsafe fn part(&self, row: usize, first: usize, count: usize) -> QuantRow<'_> {
        let at = row * self.inputs + first;
        let (group, groups) = (at / GROUP, count / GROUP);
        // SAFETY: the caller's promise.
        unsafe {
            QuantRow {
                scales: self.scales,
                codes: self.codes.part(at..at + count),
                groups: self.groups.part(group..group + groups),
            }
        }
    }

    /// The kind of all scales.
    #[inline]
    pub fn scales(&self) -> ScaleKind {
        self.scales
    }

    /// Whether groups are to be joined to superblocks before a product takes the rows.
    #[inline]
    pub fn has_superblocks(&self) -> bool {
        self.scales == ScaleKind::Power
    }

    /// Makes a row's superblocks, once all its groups are written.
    ///
    /// # Safety
    /// Nobody else uses the row meanwhile.
    pub unsafe fn join_groups(&self, level: SimdLevel, row: usize) {
        let span = |width: usize| row * width..(row + 1) * width;
        // SAFETY: the caller's promise.
        unsafe {
            let groups = self.groups.read(span(self.inputs / GROUP));
            let blocks = self.superblocks.part(span(self.scales.superblocks(self.inputs)));
            join_groups(level, groups, blocks);
        }
    }

    /// Starts to bring the same place here, away from other cores.
    #[inline]
    pub fn prefetch_write(&self, row: usize, first: usize, count: usize) {
        let at = row * self.inputs + first;
        self.codes.prefetch_write(at..at + count);
        self.groups.prefetch_write(at / GROUP..(at + count) / GROUP);
    }

    /// Puts a row in the place of another; its groups are not joined yet.
    ///
    /// # Safety
    /// Nobody else uses either meanwhile, and they differ.
    pub unsafe fn move_row(&self, from: usize, to: usize) {
        let span = |row: usize, width: usize| row * width..(row + 1) * width;
        let (inputs, groups) = (self.inputs, self.inputs / GROUP);
        // SAFETY: the caller's promise.
        unsafe {
            let codes = self.codes.read(span(from, inputs));
            self.codes.part(span(to, inputs)).copy_from_slice(codes);
            let facts = self.groups.read(span(from, groups));
            self.groups.part(span(to, groups)).copy_from_slice(facts);
        }
    }

    /// Some rows as input of a product; `floats` holds the same rows.
    ///
    /// # Safety
    /// The rows were written, and their groups joined, in an earlier phase.
    #[inline]
    pub unsafe fn input<'b>(
        &'b self,
        rows: Range<usize>,
        floats: &'b Disjoint<'_, f32>,
    ) -> Input<'b> {
        let (inputs, groups) = (self.inputs, self.inputs / GROUP);
        let blocks = self.scales.superblocks(inputs);
        let every = |width: usize| rows.start * width..rows.end * width;
        // SAFETY: the caller's promise.
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
                floats: floats.read(every(inputs)),
            }
        }
    }
}
