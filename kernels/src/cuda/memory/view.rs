//! Views of buffers: the arguments of kernels.

use std::marker::PhantomData;
use std::ops::Range;

use cudarc::driver::sys;

use super::Plain;

/// Some elements of a [`Buffer`](super::Buffer), for a kernel to read or write.
#[derive(Debug)]
pub struct View<'a, T> {
    pub(in crate::cuda) pointer: sys::CUdeviceptr,
    pub(super) len: usize,
    pub(super) kind: PhantomData<&'a T>,
}

// === impl View ===

impl<'a, T: Plain> View<'a, T> {
    /// Number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Some of it.
    ///
    /// # Panics
    /// The range is outside the view.
    pub fn slice(&self, range: Range<usize>) -> View<'a, T> {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        let pointer = self.pointer + (range.start * size_of::<T>()) as u64;
        View { pointer, len: range.len(), kind: PhantomData }
    }

    /// The same bytes as elements of another type.
    ///
    /// # Panics
    /// They do not fit, or are not aligned to the type's size.
    pub fn cast<U: Plain>(&self, len: usize) -> View<'a, U> {
        assert!(size_of::<U>() * len <= size_of::<T>() * self.len, "{len} elements do not fit");
        assert!(self.pointer.is_multiple_of(align_of::<U>() as u64), "not aligned");
        View { pointer: self.pointer, len, kind: PhantomData }
    }
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}
