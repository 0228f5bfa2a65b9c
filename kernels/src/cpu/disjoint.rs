//! A slice whose parts several threads use at once: the basis of `SharedRows` and similar types.

#![allow(unsafe_code)] // Hands out parts of one slice; callers promise that they do not overlap.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::AtomicU8;

use super::prefetch::prefetch_write;

/// A borrowed slice whose parts may be handed to different threads.
#[derive(Debug)]
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    length: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`; the contract of `part` keeps threads apart.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as above; parts for reading are shared.
unsafe impl<T: Send + Sync> Sync for Disjoint<'_, T> {}

// === impl Disjoint ===

impl<'a, T> Disjoint<'a, T> {
    /// Borrows the slice for as long as its parts live.
    pub(crate) fn new(slice: &'a mut [T]) -> Disjoint<'a, T> {
        Disjoint { start: slice.as_mut_ptr(), length: slice.len(), borrow: PhantomData }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Pointer to an element, or to the end.
    #[inline]
    pub(crate) fn start(&self, at: usize) -> *mut T {
        assert!(at <= self.length, "outside the slice");
        self.start.wrapping_add(at)
    }

    /// A part for writing.
    ///
    /// # Safety
    /// While the part lives, no other living part, for writing or reading, may overlap it.
    #[allow(clippy::mut_from_ref)] // The very purpose; the caller keeps parts apart.
    #[inline]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part outside the slice");
        // SAFETY: inside the borrowed slice by the assertion, not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Starts prefetching a part for writing, which takes it from other cores' caches.
    #[inline]
    pub(crate) fn prefetch_write(&self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.length, "part outside the slice");
        prefetch_write(self.start.wrapping_add(range.start), range.len());
    }

    /// A part for reading.
    ///
    /// # Safety
    /// While the part lives, nothing may write to it.
    #[inline]
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &'a [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part outside the slice");
        // SAFETY: inside the borrowed slice by the assertion, not written by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}

impl<'a> Disjoint<'a, u8> {
    /// All bytes as atomics.
    ///
    /// # Safety
    /// While the slice lives, bytes may be read and written only through such slices.
    #[inline]
    pub(crate) unsafe fn atomic_bytes(&self) -> &'a [AtomicU8] {
        // SAFETY: the borrowed slice, of bytes, which have the layout of atomics; others use atomics by the caller's
        // promise.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}
