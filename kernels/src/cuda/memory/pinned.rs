//! Pinned memory of the host.

use cudarc::driver::result;

use crate::cuda::{Card, CudaError};

/// Host memory that the card can copy from and to directly.
#[derive(Debug)]
pub struct Pinned {
    pub(super) pointer: *mut u8,
    pub(super) bytes: usize,
    card: Card,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Pinned {}

// === impl Pinned ===

impl Pinned {
    /// Allocates pinned memory, zeroed.
    ///
    /// # Errors
    /// There is not enough memory, or the card is lost.
    pub fn new(card: &Card, bytes: usize) -> Result<Pinned, CudaError> {
        let failed = || CudaError::driver("taking pinned memory");
        card.bind()?;
        // SAFETY: freed once, on drop; zeroed before anybody reads it.
        let pointer = unsafe {
            let pointer = result::malloc_host(bytes.max(1), 0).map_err(failed())?.cast::<u8>();
            pointer.write_bytes(0, bytes);
            pointer
        };
        Ok(Pinned { pointer, bytes, card: card.clone() })
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as many bytes were taken and zeroed, and the borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.card.bind().is_ok() {
            // SAFETY: taken in `new`, freed here alone.
            let _ = unsafe { result::free_host(self.pointer.cast()) };
        }
    }
}
