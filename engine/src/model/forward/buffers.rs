//! Rows of floats between the products, with their codes for the products that take codes.

#![allow(unsafe_code)] // Hands out disjoint parts.

use std::ops::Range;

use jury_kernels::cpu::disjoint::Disjoint;
use jury_kernels::cpu::gemm::{Group, QuantRow, QuantRows, SharedCodes};
use jury_kernels::cpu::packed::Input;
use jury_kernels::cpu::quantise::{ScaleKind, quantise, quantise_superblocks};
use jury_kernels::cpu::{GROUP, LANES, SimdLevel};

/// Inputs of a product.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    floats: Vec<f32>,
    codes: QuantRows,
}

/// The same, while threads write disjoint parts.
pub(super) struct SharedInputs<'a> {
    /// Of a row, a multiple of 32.
    width: usize,
    pub(super) floats: Disjoint<'a, f32>,
    pub(super) codes: SharedCodes<'a>,
}

// === impl Inputs ===

impl Inputs {
    /// Makes room; contents are unspecified.
    pub(super) fn resize(&mut self, rows: usize, width: usize, scales: ScaleKind) {
        self.floats.resize(rows * width, 0.0);
        self.codes.resize(rows, width, scales);
    }

    /// All rows, one after the other.
    pub(super) fn floats(&self) -> &[f32] {
        &self.floats
    }

    pub(super) fn share(&mut self) -> SharedInputs<'_> {
        SharedInputs {
            width: self.codes.inputs,
            floats: Disjoint::new(&mut self.floats),
            codes: SharedCodes::new(&mut self.codes),
        }
    }
}

// === impl SharedInputs ===

impl SharedInputs<'_> {
    /// Lets `write` fill a row, which is then ready for a product.
    ///
    /// # Safety
    /// Nobody else uses the row meanwhile.
    pub(super) unsafe fn write_row(
        &self,
        level: SimdLevel,
        row: usize,
        write: impl FnOnce(&mut [f32]),
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            self.write(level, row, 0..self.width, write);
            self.complete(level, row);
        }
    }

    /// Makes a row ready for a product whose floats are all written, if more is to be done than column by column.
    ///
    /// # Safety
    /// Nobody else uses the row meanwhile.
    pub(super) unsafe fn complete(&self, level: SimdLevel, row: usize) {
        if self.codes.has_superblocks() {
            // SAFETY: the caller's promise.
            unsafe {
                quantise_superblocks(level, self.row(row), self.codes.part(row, 0, self.width));
                self.codes.join_groups(level, row);
            }
        }
    }

    /// Lets `write` fill some columns of a row. First column and length are multiples of 32. When all are written, the row
    /// is still to be completed.
    ///
    /// # Safety
    /// Nobody else uses these columns meanwhile.
    pub(super) unsafe fn write(
        &self,
        level: SimdLevel,
        row: usize,
        columns: Range<usize>,
        write: impl FnOnce(&mut [f32]),
    ) {
        let at = row * self.width;
        // SAFETY: the caller's promise.
        unsafe {
            let floats = self.floats.part(at + columns.start..at + columns.end);
            write(floats);
            if !self.codes.has_superblocks() {
                quantise(level, floats, self.codes.part(row, columns.start, columns.len()));
            }
        }
    }

    /// Quantises 32 columns of some rows, from `column` (a multiple of 32) and `first_row` on, and keeps the floats as
    /// well if a product wants them. `floats` are rows x 32. When all are written, groups are still to be joined.
    ///
    /// # Safety
    /// Nobody else uses these columns meanwhile.
    pub(super) unsafe fn put(
        &self,
        level: SimdLevel,
        first_row: usize,
        column: usize,
        floats: &[f32],
        keep_floats: bool,
    ) {
        let mut codes = [0; LANES * GROUP];
        let mut groups = [Group::default(); LANES];
        let mut row = first_row;
        for floats in floats.chunks(LANES * GROUP) {
            let count = floats.len() / GROUP;
            let (codes, groups) = (&mut codes[..floats.len()], &mut groups[..count]);
            let scales = self.codes.scales();
            quantise(level, floats, QuantRow { scales, codes, groups });
            let rows = codes.as_chunks::<GROUP>().0.iter().zip(groups);
            for (floats, (codes, group)) in floats.chunks_exact(GROUP).zip(rows) {
                let at = row * self.width + column;
                // SAFETY: the caller's promise.
                unsafe {
                    self.codes.part(row, column, GROUP).set(codes, *group);
                    if keep_floats {
                        self.floats.part(at..at + GROUP).copy_from_slice(floats);
                    }
                }
                row += 1;
            }
        }
    }

    /// Puts a row in the place of another.
    ///
    /// # Safety
    /// Nobody else uses either meanwhile, and they differ.
    pub(super) unsafe fn move_row(&self, from: usize, to: usize) {
        let span = |row: usize| row * self.width..(row + 1) * self.width;
        // SAFETY: the caller's promise.
        unsafe {
            self.floats.part(span(to)).copy_from_slice(self.floats.read(span(from)));
            self.codes.move_row(from, to);
        }
    }

    /// The floats of a row.
    ///
    /// # Safety
    /// Nobody writes them meanwhile.
    pub(super) unsafe fn row(&self, row: usize) -> &[f32] {
        // SAFETY: the caller's promise.
        unsafe { self.floats.read(row * self.width..(row + 1) * self.width) }
    }

    /// Some rows, for a product.
    ///
    /// # Safety
    /// They were written, and their groups joined, in an earlier phase.
    pub(super) unsafe fn rows(&self, rows: Range<usize>) -> Input<'_> {
        // SAFETY: the caller's promise.
        unsafe { self.codes.input(rows, &self.floats) }
    }
}
