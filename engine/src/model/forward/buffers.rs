//! Rows of floats between products, with their codes for products that take codes.

use std::ops::Range;

use jury_kernels::cpu::gemm::{CodesBlock, Group, QuantRow, QuantRows, SharedCodes};
use jury_kernels::cpu::packed::Input;
use jury_kernels::cpu::quantise::{ScaleKind, quantise};
use jury_kernels::cpu::shared::{Block, Rows, SharedRows};
use jury_kernels::cpu::thread_pool::{Claim, Phases};
use jury_kernels::cpu::{GROUP, LANES, SimdLevel};

/// Inputs of a product.
#[derive(Debug, Default)]
pub(in crate::model) struct Inputs {
    floats: Rows<f32>,
    codes: QuantRows,
}

/// The same, while several threads fill them.
pub(crate) struct SharedInputs<'a> {
    pub(super) floats: SharedRows<'a, f32>,
    pub(super) codes: SharedCodes<'a>,
}

/// Some columns of some rows, to be written; first column and length are multiples of 32. After all columns of a row
/// are written, the row must still be completed.
pub(crate) struct InputsBlock<'a> {
    floats: Block<'a, f32>,
    /// `None` if whole rows are quantised together.
    codes: Option<CodesBlock<'a>>,
}

// === impl Inputs ===

impl Inputs {
    /// Makes room; contents are unspecified.
    pub(in crate::model) fn resize(&mut self, rows: usize, width: usize, scales: ScaleKind) {
        self.floats.resize(rows, width);
        self.codes.resize(rows, width, scales);
    }

    /// All rows, one after the other.
    pub(in crate::model) fn floats(&self) -> &[f32] {
        self.floats.as_slice()
    }

    pub(in crate::model) fn share<'a>(&'a mut self, phases: &'a Phases) -> SharedInputs<'a> {
        SharedInputs {
            floats: self.floats.share(phases),
            codes: SharedCodes::new(&mut self.codes, phases),
        }
    }
}

// === impl SharedInputs ===

impl SharedInputs<'_> {
    /// Lets `write` fill a row, which is then ready for a product.
    pub(super) fn write_row(
        &self,
        claim: &Claim<'_>,
        level: SimdLevel,
        row: usize,
        write: impl FnOnce(&mut [f32]),
    ) {
        let floats = self.floats.row(claim, row);
        write(floats);
        self.codes.write_row(claim, level, row, floats);
    }

    /// Prepares a row whose floats were all written in earlier phases for a product, if that requires more than can be
    /// done column by column.
    pub(super) fn complete(&self, claim: &Claim<'_>, level: SimdLevel, row: usize) {
        if self.codes.has_superblocks() {
            self.codes.write_row(claim, level, row, self.row(claim, row));
        }
    }

    /// Columns of some rows.
    pub(crate) fn block<'p>(
        &'p self,
        claim: &'p Claim<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> InputsBlock<'p> {
        let codes = (!self.codes.has_superblocks())
            .then(|| self.codes.block(claim, rows.clone(), columns.clone()));
        InputsBlock { floats: self.floats.block(claim, rows, columns), codes }
    }

    /// Quantises 32 columns of some rows, starting at `column` (a multiple of 32) and `first_row`, and stores the
    /// floats as well if a product needs them. `floats` are rows x 32. After all are written, groups must still be
    /// joined.
    pub(super) fn put(
        &self,
        claim: &Claim<'_>,
        level: SimdLevel,
        [first_row, column]: [usize; 2],
        floats: &[f32],
        keep_floats: bool,
    ) {
        let rows = first_row..first_row + floats.len() / GROUP;
        let columns = column..column + GROUP;
        let mut kept = keep_floats.then(|| self.floats.block(claim, rows.clone(), columns.clone()));
        let mut block = self.codes.block(claim, rows, columns);
        let mut codes = [0; LANES * GROUP];
        let mut groups = [Group::default(); LANES];
        let mut row = 0;
        for floats in floats.chunks(LANES * GROUP) {
            let count = floats.len() / GROUP;
            let (codes, groups) = (&mut codes[..floats.len()], &mut groups[..count]);
            let scales = self.codes.scales();
            quantise(level, floats, QuantRow { scales, codes, groups });
            let rows = codes.as_chunks::<GROUP>().0.iter().zip(groups);
            for (floats, (codes, group)) in floats.chunks_exact(GROUP).zip(rows) {
                block.row(row).set(codes, *group);
                if let Some(kept) = &mut kept {
                    kept.row(row).copy_from_slice(floats);
                }
                row += 1;
            }
        }
    }

    /// Moves rows to the places of others, in order: pairs of from and to.
    pub(super) fn move_rows(
        &self,
        claim: &Claim<'_>,
        moves: impl Iterator<Item = (usize, usize)> + Clone,
    ) {
        self.floats.move_rows(claim, moves.clone());
        self.codes.move_rows(claim, moves);
    }

    /// The floats of a row.
    pub(super) fn row<'p>(&'p self, claim: &'p Claim<'_>, row: usize) -> &'p [f32] {
        self.floats.read(claim, row..row + 1)
    }

    /// Some rows, for a product. They must have been written, and their groups joined, in earlier phases.
    pub(super) fn rows<'p>(&'p self, claim: &'p Claim<'_>, rows: Range<usize>) -> Input<'p> {
        self.codes.input(claim, rows, &self.floats)
    }
}

// === impl InputsBlock ===

impl InputsBlock<'_> {
    /// Lets `write` fill the block's row with this index.
    pub(crate) fn write(&mut self, level: SimdLevel, index: usize, write: impl FnOnce(&mut [f32])) {
        let floats = self.floats.row(index);
        write(floats);
        if let Some(codes) = &mut self.codes {
            quantise(level, floats, codes.row(index));
        }
    }
}
