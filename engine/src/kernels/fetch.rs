//! Asking for memory before it is needed.

#![allow(unsafe_code)] // The prefetch instruction is an intrinsic.

/// Bytes that come at once.
const CACHE_LINE: usize = 64;

/// Bytes that are asked for little by little, in as many steps as other work has.
pub(crate) struct Ahead<'a> {
    left: &'a [u8],
    bytes_a_step: usize,
}

// === impl Ahead ===

impl<'a> Ahead<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], steps: usize) -> Ahead<'a> {
        if bytes.is_empty() {
            return Ahead { left: bytes, bytes_a_step: 0 };
        }
        let lines = bytes.len().div_ceil(CACHE_LINE);
        Ahead { left: bytes, bytes_a_step: lines.div_ceil(steps.max(1)) * CACHE_LINE }
    }

    /// Asks for the next part, if any is left.
    #[inline]
    pub(crate) fn step(&mut self) {
        let (part, left) = self.left.split_at(self.bytes_a_step.min(self.left.len()));
        self.left = left;
        fetch(part);
    }
}

/// Starts to bring memory that will be written into the first-level cache, and to take it away from other cores. Only the
/// address counts.
#[inline]
pub(crate) fn fetch_to_write<T>(start: *const T, length: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..length * size_of::<T>()).step_by(CACHE_LINE) {
        // SAFETY: `prefetchw` writes nothing and cannot fault; CPUs without it do nothing.
        unsafe {
            std::arch::asm!(
                "prefetchw byte ptr [{}]",
                in(reg) start.cast::<u8>().wrapping_add(at),
                options(nostack, preserves_flags, readonly),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, length);
}

/// Starts to bring the bytes into the second-level cache; does not wait for them.
#[inline]
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
