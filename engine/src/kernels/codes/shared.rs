//! Quantised rows that the threads of a job fill together.

#![allow(unsafe_code)] // Hands out disjoint parts.

use std::ops::Range;

use super::{Group, QuantRow, QuantRows, QuantView};
use crate::kernels::GROUP;
use crate::kernels::disjoint::Disjoint;
use crate::kernels::packed::Input;

/// Quantised rows that threads write in disjoint parts.
pub(crate) struct SharedCodes<'a> {
    /// Inputs of a row.
    inputs: usize,
    codes: Disjoint<'a, i8>,
    groups: Disjoint<'a, Group>,
}

// === impl SharedCodes ===

impl<'a> SharedCodes<'a> {
    pub(crate) fn new(rows: &'a mut QuantRows) -> SharedCodes<'a> {
        SharedCodes {
            inputs: rows.inputs,
            codes: Disjoint::new(&mut rows.codes),
            groups: Disjoint::new(&mut rows.groups),
        }
    }

    /// The place of `count` inputs of a row, from `first` on (both multiples of 32).
    ///
    /// # Safety
    /// Nobody else uses these inputs meanwhile.
    pub(crate) unsafe fn part(&self, row: usize, first: usize, count: usize) -> QuantRow<'_> {
        let at = row * self.inputs + first;
        let (group, groups) = (at / GROUP, count / GROUP);
        // SAFETY: the caller's promise.
        unsafe {
            QuantRow {
                codes: self.codes.part(at..at + count),
                groups: self.groups.part(group..group + groups),
            }
        }
    }

    /// Some rows as input of a product; `floats` holds the same rows.
    ///
    /// # Safety
    /// The rows were written in an earlier phase.
    pub(crate) unsafe fn input<'b>(
        &'b self,
        rows: Range<usize>,
        floats: &'b Disjoint<'_, f32>,
    ) -> Input<'b> {
        let (inputs, groups) = (self.inputs, self.inputs / GROUP);
        let every = |width: usize| rows.start * width..rows.end * width;
        // SAFETY: the caller's promise.
        unsafe {
            Input {
                rows: rows.len(),
                codes: QuantView {
                    inputs,
                    codes: self.codes.read(every(inputs)),
                    groups: self.groups.read(every(groups)),
                },
                floats: floats.read(every(inputs)),
            }
        }
    }
}
