//! How a product is divided into the pieces of a phase.

use std::ops::Range;

use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::thread_pool::ThreadIndex;

/// Minimum rows of a block: a panel is prepared again for each block.
const LEAST_ROWS: usize = 128;

/// The pieces of a product: all panels or, with very many rows, all panels of each block of rows.
///
/// There is a block for each thread, so each thread's range of pieces is its block. A thread then finds in its own
/// cache the rows that it wrote in the previous phase; with panels of all rows, most would have to come from other
/// cores, which is slow on CPUs with several core complexes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    rows: usize,
    panels: usize,
    blocks: usize,
}

// === impl Grid ===

impl Grid {
    /// Without rows there are no pieces.
    pub(super) fn new(rows: usize, panels: usize, thread: ThreadIndex) -> Grid {
        let blocks = (rows / LEAST_ROWS).clamp(1, thread.count);
        Grid { rows, panels: if rows > 0 { panels } else { 0 }, blocks }
    }

    pub(super) fn pieces(self) -> usize {
        self.blocks * self.panels
    }

    /// The rows and the panel of a piece.
    pub(super) fn locate(self, piece: usize) -> (Range<usize>, usize) {
        let (block, panel) = (piece / self.panels, piece % self.panels);
        let rows = self.rows * block / self.blocks..self.rows * (block + 1) / self.blocks;
        (rows, panel)
    }

    /// What a thread should prefetch while it computes a panel of `matrix`: the panel of its next piece, or else its
    /// first panel of the next matrix.
    pub(super) fn prefetch<'b>(
        self,
        matrix: &'b PackedMatrix,
        next: Option<usize>,
        then: &'b PackedMatrix,
        thread: ThreadIndex,
    ) -> &'b [u8] {
        match next {
            Some(next) => matrix.panel_bytes(self.locate(next).1),
            None => {
                let grid = Grid { panels: then.panels(), ..self };
                then.panel_bytes(grid.locate(thread.first_piece(grid.pieces())).1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(number: usize, count: usize) -> ThreadIndex {
        ThreadIndex { number, count }
    }

    #[test]
    fn every_row_meets_every_panel_once() {
        for (rows, panels, threads) in
            [(0, 5, 2), (1, 5, 2), (255, 3, 2), (256, 3, 2), (515, 7, 3), (400, 1, 16), (300, 4, 1)]
        {
            let grid = Grid::new(rows, panels, thread(0, threads));
            let mut met = vec![0; rows * panels];
            for (rows, panel) in (0..grid.pieces()).map(|piece| grid.locate(piece)) {
                rows.for_each(|row| met[row * panels + panel] += 1);
            }
            assert!(met.iter().all(|&count| count == 1), "{rows} x {panels}, {threads} threads");
        }
    }

    #[test]
    fn with_many_rows_each_thread_begins_its_own_block() {
        for number in 0..4 {
            let thread = thread(number, 4);
            let grid = Grid::new(4 * LEAST_ROWS + 2, 9, thread);
            let (rows, panel) = grid.locate(thread.first_piece(grid.pieces()));
            assert_eq!((rows.start, panel), ((4 * LEAST_ROWS + 2) * number / 4, 0));
        }
    }

    #[test]
    fn few_rows_are_not_cut() {
        let grid = Grid::new(2 * LEAST_ROWS - 1, 9, thread(0, 2));
        assert_eq!((grid.pieces(), grid.locate(8)), (9, (0..2 * LEAST_ROWS - 1, 8)));
    }
}
