//! Memory of the card.

#![allow(unsafe_code)]

mod pinned;
mod view;

use std::marker::PhantomData;
use std::ops::Range;

use cudarc::driver::{result, sys};

use super::{Card, CudaError};
pub use pinned::Pinned;
pub use view::View;

/// A bfloat16, stored as its bits.
pub type Bf16 = half::bf16;

/// Element types of buffers: plain numbers and structs of them, for which every bit pattern is valid.
///
/// # Safety
/// The type is `Copy`, has no padding that matters, and every bit pattern is a value.
pub unsafe trait Plain: Copy + Send + 'static {}

// SAFETY: numbers.
unsafe impl Plain for u8 {}
unsafe impl Plain for u32 {}
unsafe impl Plain for f32 {}
unsafe impl Plain for f64 {}
unsafe impl Plain for Bf16 {}

/// Memory on the card for `len` elements.
#[derive(Debug)]
pub struct Buffer<T> {
    card: Card,
    pointer: sys::CUdeviceptr,
    len: usize,
    kind: PhantomData<T>,
}

// === impl Buffer ===

impl<T: Plain> Buffer<T> {
    /// Allocates memory with unspecified contents. `what` is for the error message.
    ///
    /// # Errors
    /// There is not enough memory, or the card is lost.
    pub fn new(card: &Card, len: usize, what: &str) -> Result<Buffer<T>, CudaError> {
        let bytes = size_of::<T>() * len.max(1);
        card.bind()?;
        // SAFETY: the memory is freed once, on drop.
        let pointer = unsafe { result::malloc_sync(bytes) }.map_err(|error| {
            if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                let free = card.free_bytes().unwrap_or(0);
                return CudaError::Memory { what: what.to_owned(), needed: bytes as u64, free };
            }
            CudaError::driver("taking memory")(error)
        })?;
        Ok(Buffer { card: card.clone(), pointer, len, kind: PhantomData })
    }

    /// As [`Buffer::new`], filled with zeros.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub fn zeroed(card: &Card, len: usize, what: &str) -> Result<Buffer<T>, CudaError> {
        let buffer = Buffer::new(card, len, what)?;
        if len == 0 {
            return Ok(buffer);
        }
        // SAFETY: as many bytes as were taken.
        unsafe {
            result::memset_d8_async(buffer.pointer, 0, buffer.bytes(), card.stream.cu_stream())
        }
        .map_err(CudaError::driver("clearing memory"))?;
        Ok(buffer)
    }

    /// A buffer with these elements.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub fn of(card: &Card, elements: &[T], what: &str) -> Result<Buffer<T>, CudaError> {
        let buffer = Buffer::new(card, elements.len(), what)?;
        buffer.write(0, elements)?;
        Ok(buffer)
    }

    /// Number of elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// All of it.
    pub fn view(&self) -> View<'_, T> {
        View { pointer: self.pointer, len: self.len, kind: PhantomData }
    }

    /// Some of it.
    ///
    /// # Panics
    /// The range is outside the buffer.
    pub fn slice(&self, range: Range<usize>) -> View<'_, T> {
        self.view().slice(range)
    }

    /// Copies elements to the card and waits until they are there.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// The range is outside the buffer.
    pub fn write(&self, at: usize, elements: &[T]) -> Result<(), CudaError> {
        write(&self.card, self.slice(at..at + elements.len()), elements)
    }

    /// Copies another buffer's elements to the beginning of this one.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// The other buffer is longer.
    pub fn copy_from(&self, other: &Buffer<T>) -> Result<(), CudaError> {
        assert!(other.len <= self.len, "{} elements for {}", other.len, self.len);
        if other.len == 0 {
            return Ok(());
        }
        let stream = self.card.stream.cu_stream();
        // SAFETY: both have as many bytes.
        unsafe { result::memcpy_dtod_async(self.pointer, other.pointer, other.bytes(), stream) }
            .map_err(CudaError::driver("copying on the card"))
    }

    /// Starts copying elements to pinned memory, to its byte `to` and following; they have arrived once work marked
    /// after this call is done.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// The range is outside either of them.
    pub fn read_pinned(
        &self,
        range: Range<usize>,
        pinned: &mut Pinned,
        to: usize,
    ) -> Result<(), CudaError> {
        let view = self.slice(range);
        let bytes = view.len * size_of::<T>();
        assert!(to + bytes <= pinned.bytes, "{bytes} bytes at {to} of {}", pinned.bytes);
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both have as many bytes; readers of the pinned memory wait for a mark first.
        unsafe {
            let to = std::slice::from_raw_parts_mut(pinned.pointer.add(to), bytes);
            result::memcpy_dtoh_async(to, view.pointer, self.card.stream.cu_stream())
        }
        .map_err(CudaError::driver("copying from the card"))
    }

    /// Copies elements from the card, after all earlier work is done.
    ///
    /// # Errors
    /// Earlier work failed, or the card is lost.
    ///
    /// # Panics
    /// The range is outside the buffer.
    pub fn read(&self, at: usize, elements: &mut [T]) -> Result<(), CudaError> {
        let view = self.slice(at..at + elements.len());
        if elements.is_empty() {
            return Ok(());
        }
        let stream = self.card.stream.cu_stream();
        // SAFETY: the view has as many elements, every bit pattern is valid, and the stream is waited for.
        unsafe { result::memcpy_dtoh_async(elements, view.pointer, stream) }
            .map_err(CudaError::driver("copying from the card"))?;
        self.card.synchronise()
    }
}

impl Buffer<Bf16> {
    /// Copies elements given as little-endian bytes to the card and waits until they are there.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// The range is outside the buffer.
    pub fn write_bytes(&self, at: usize, bytes: &[u8]) -> Result<(), CudaError> {
        let view = self.slice(at..at + bytes.len() / size_of::<Bf16>());
        let bytes = &bytes[..view.len * size_of::<Bf16>()];
        write(&self.card, view.cast(bytes.len()), bytes)
    }
}

impl Buffer<u8> {
    /// Copies the first `bytes` of pinned memory to the beginning of the buffer. The pinned memory must not be written
    /// to before the card is done.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// `bytes` exceeds either length.
    pub fn write_pinned(&self, from: &Pinned, bytes: usize) -> Result<(), CudaError> {
        assert!(bytes <= self.len && bytes <= from.bytes, "{bytes} bytes are copied");
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both have as many bytes.
        unsafe {
            let from = std::slice::from_raw_parts(from.pointer, bytes);
            result::memcpy_htod_async(self.pointer, from, self.card.stream.cu_stream())
        }
        .map_err(CudaError::driver("copying to the card"))
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // A lost card has already freed it.
        if self.card.bind().is_ok() {
            // SAFETY: taken in `new`, freed here alone.
            let _ = unsafe { result::free_sync(self.pointer) };
        }
    }
}

/// Copies a view's bytes from the card, after all earlier work is done.
pub(super) fn read_bytes<T: Plain>(card: &Card, view: View<'_, T>) -> Result<Vec<u8>, CudaError> {
    let mut bytes = vec![0u8; view.len * size_of::<T>()];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    // SAFETY: as many bytes, and the stream is waited for.
    unsafe { result::memcpy_dtoh_async(&mut bytes, view.pointer, card.stream.cu_stream()) }
        .map_err(CudaError::driver("copying from the card"))?;
    card.synchronise()?;
    Ok(bytes)
}

/// Copies elements to the card, as many as the view has, and waits until they are there.
pub(super) fn write<T: Plain>(
    card: &Card,
    view: View<'_, T>,
    elements: &[T],
) -> Result<(), CudaError> {
    assert_eq!(view.len, elements.len(), "all of a view is written");
    if elements.is_empty() {
        return Ok(());
    }
    // SAFETY: the view has as many elements, and they stay until the stream has been waited for.
    unsafe { result::memcpy_htod_async(view.pointer, elements, card.stream.cu_stream()) }
        .map_err(CudaError::driver("copying to the card"))?;
    card.synchronise()
}
