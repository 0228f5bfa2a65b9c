//! Results of the pieces of a job.

use std::sync::Mutex;

/// One result for each piece of work, written by whichever thread did it.
#[derive(Debug)]
pub struct Results<T>(Vec<Mutex<Option<T>>>);

// === impl Results ===

impl<T> Results<T> {
    /// Room for the results of `pieces` pieces.
    pub fn new(pieces: usize) -> Results<T> {
        Results((0..pieces).map(|_| Mutex::new(None)).collect())
    }

    /// Records the result of a piece.
    pub fn put(&self, piece: usize, result: T) {
        *self.0[piece].lock().expect("nothing panics under this lock") = Some(result);
    }

    /// All results, by piece.
    pub fn into_vec(self) -> Vec<Option<T>> {
        let inner = |cell: Mutex<Option<T>>| cell.into_inner();
        self.0
            .into_iter()
            .map(|cell| inner(cell).expect("nothing panics under this lock"))
            .collect()
    }
}
