//! A slice that several threads write at once, each its own part.

#![allow(unsafe_code)] // Hands out parts of one slice; callers promise that they do not overlap.

use std::marker::PhantomData;
use std::ops::Range;

use super::prefetch::prefetch_write;

/// A borrowed slice whose parts may be given to different threads.
#[derive(Debug)]
pub struct Disjoint<'a, T> {
    start: *mut T,
    length: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`; the promise of `part` keeps threads apart.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

// === impl Disjoint ===

impl<'a, T> Disjoint<'a, T> {
    /// Borrows the slice for as long as its parts live.
    pub fn new(slice: &'a mut [T]) -> Disjoint<'a, T> {
        Disjoint { start: slice.as_mut_ptr(), length: slice.len(), borrow: PhantomData }
    }

    /// A part to write.
    ///
    /// # Safety
    /// While the part lives, no other living part, written or read, overlaps it.
    #[allow(clippy::mut_from_ref)] // The very purpose; the caller keeps parts apart.
    #[inline]
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part outside the slice");
        // SAFETY: inside the borrowed slice by the assertion, not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Starts to bring a part that will be written here, away from other cores.
    #[inline]
    pub fn prefetch_write(&self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.length, "part outside the slice");
        prefetch_write(self.start.wrapping_add(range.start), range.len());
    }

    /// A part to read.
    ///
    /// # Safety
    /// While the part lives, nobody writes to it.
    #[inline]
    pub unsafe fn read(&self, range: Range<usize>) -> &'a [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part outside the slice");
        // SAFETY: inside the borrowed slice by the assertion, not written by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}

/// One result for each piece of work, written by whichever thread did it.
#[derive(Debug)]
pub struct Results<T>(Vec<std::sync::Mutex<Option<T>>>);

// === impl Results ===

impl<T> Results<T> {
    /// Room for the results of so many pieces.
    pub fn new(pieces: usize) -> Results<T> {
        Results((0..pieces).map(|_| std::sync::Mutex::new(None)).collect())
    }

    /// Records the result of a piece.
    pub fn put(&self, piece: usize, result: T) {
        *self.0[piece].lock().expect("nothing panics under this lock") = Some(result);
    }

    /// All results, by piece.
    pub fn into_vec(self) -> Vec<Option<T>> {
        let inner = |cell: std::sync::Mutex<Option<T>>| cell.into_inner();
        self.0
            .into_iter()
            .map(|cell| inner(cell).expect("nothing panics under this lock"))
            .collect()
    }
}
