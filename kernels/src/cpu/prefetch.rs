//! Prefetching of memory before it is needed.

#![allow(unsafe_code)] // The instructions are reached through assembly.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;

/// Bytes that are fetched at once.
const CACHE_LINE: usize = 64;

/// Bytes to be prefetched gradually, spread over the steps of other work.
pub struct Prefetcher<'a> {
    left: &'a [u8],
    bytes_a_step: usize,
}

// === impl Prefetcher ===

impl<'a> Prefetcher<'a> {
    /// Prefetches `bytes` over `steps` steps.
    #[inline]
    pub fn new(bytes: &'a [u8], steps: usize) -> Prefetcher<'a> {
        if bytes.is_empty() {
            return Prefetcher { left: bytes, bytes_a_step: 0 };
        }
        let lines = bytes.len().div_ceil(CACHE_LINE);
        Prefetcher { left: bytes, bytes_a_step: lines.div_ceil(steps.max(1)) * CACHE_LINE }
    }

    /// Prefetches the next part, if any is left.
    #[inline]
    pub fn step(&mut self) {
        let (part, left) = self.left.split_at(self.bytes_a_step.min(self.left.len()));
        self.left = left;
        prefetch(part);
    }

    /// A step of which the caller prefetches `lines` lines itself, between its own instructions, which spreads them
    /// best. Returns where they start, and their distance (0 once everything was prefetched). The rest of the step is
    /// prefetched here.
    #[inline]
    pub fn hand_out(&mut self, lines: usize) -> (*const u8, usize) {
        let start = self.left.as_ptr();
        if self.left.is_empty() {
            return (start, 0);
        }
        let (_, left) = self.left.split_at((lines * CACHE_LINE).min(self.left.len()));
        self.left = left;
        if self.bytes_a_step > lines * CACHE_LINE {
            let (part, left) =
                left.split_at((self.bytes_a_step - lines * CACHE_LINE).min(left.len()));
            self.left = left;
            prefetch(part);
        }
        (start, CACHE_LINE)
    }
}

/// Starts bringing memory that will be written into the first-level cache, which takes it from other cores' caches.
/// Only the address matters.
#[inline]
pub fn prefetch_write<T>(start: *const T, length: usize) {
    for at in (0..length * size_of::<T>()).step_by(CACHE_LINE) {
        let line = start.addr() + at;
        // SAFETY: prefetching a line writes nothing and cannot fault; CPUs without the instruction do nothing.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            asm!("prefetchw byte ptr [{}]", in(reg) line, options(nostack, preserves_flags, nomem));
            #[cfg(target_arch = "aarch64")]
            asm!("prfm pstl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, nomem));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }
}

/// Starts bringing the bytes into the second-level cache; does not wait for them.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(CACHE_LINE) {
        let line = line.as_ptr().addr();
        // SAFETY: as above; nothing is read either.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            asm!("prefetcht1 byte ptr [{}]", in(reg) line, options(nostack, preserves_flags, nomem));
            #[cfg(target_arch = "aarch64")]
            asm!("prfm pldl2keep, [{}]", in(reg) line, options(nostack, preserves_flags, nomem));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }
}
