//! Asking for memory before it is needed.

#![allow(unsafe_code)] // The prefetch instruction is an intrinsic.

/// Bytes that come at once.
pub(crate) const CACHE_LINE: usize = 64;

/// Starts to bring the bytes into the second-level cache; does not wait for them.
pub(crate) fn fetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(CACHE_LINE) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every x86-64 CPU has the instruction; it reads nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
