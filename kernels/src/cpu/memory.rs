//! Memory for what every step reads: weights, keys and values. It starts on cache lines, so that a vector load never
//! straddles two, and uses huge pages where the system provides them: with small ones, a core that streams hundreds of
//! megabytes waits for address translation as well as for the data.

#![allow(unsafe_code)] // Hands out disjoint parts of mapped memory.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of a huge page, on most systems.
const HUGE: usize = 2 << 20;
/// Minimum bytes of a block. The unused part of the last one is never touched, and so costs nothing. Under the address
/// sanitizer every part has a separate block, whose ends are watched.
const BLOCK: usize = if cfg!(asan) { 0 } else { 32 * HUGE };

#[cfg(not(asan))]
type Block = memmap2::MmapMut;
#[cfg(asan)]
type Block = Vec<Line>;

#[cfg(asan)]
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Allocates from large blocks, because most matrices are smaller than a huge page.
#[derive(Debug, Default)]
pub struct Arena {
    last: Mutex<Option<Rest>>,
}

/// Bytes that start on a cache line. Their block lives as long as any of its parts.
#[derive(Debug)]
pub struct AlignedBytes {
    start: NonNull<u8>,
    /// Rounded up to whole cache lines.
    length: usize,
    _block: Arc<Block>,
}

/// The unallocated part of a block.
#[derive(Debug)]
struct Rest {
    block: Arc<Block>,
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the parts of a block are disjoint, and each is reached through its one owner, as a `Vec`'s memory is.
unsafe impl Send for AlignedBytes {}
// SAFETY: as above.
unsafe impl Sync for AlignedBytes {}
// SAFETY: as above; nothing reads or writes the rest of a block.
unsafe impl Send for Rest {}

// === impl Arena ===

impl Arena {
    /// Allocates zeros; the length is rounded up to whole cache lines. If the system does not have the memory, the
    /// process ends, as when a `Vec` grows.
    pub fn zeroed(&self, bytes: usize) -> AlignedBytes {
        let length = bytes.next_multiple_of(LINE);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = match last.take() {
            Some(rest) if rest.length >= length => rest,
            _ => Rest::map(length.max(BLOCK)),
        };
        let taken = rest.take(length);
        *last = Some(rest);
        taken
    }
}

// === impl Rest ===

impl Rest {
    /// A new block of at least this many bytes, all unallocated.
    #[cfg(not(asan))]
    fn map(bytes: usize) -> Rest {
        use std::alloc::{Layout, handle_alloc_error};

        let bytes = bytes.next_multiple_of(HUGE);
        // Leaves room to start on a huge page.
        let Ok(mut block) = Block::map_anon(bytes + HUGE) else {
            handle_alloc_error(Layout::from_size_align(bytes, LINE).unwrap_or(Layout::new::<u8>()));
        };
        // Not every system has huge pages, and none has to provide them.
        #[cfg(target_os = "linux")]
        let _ = block.advise(memmap2::Advice::HugePage);
        let before = block.as_ptr().align_offset(HUGE);
        let start = NonNull::from(&mut block[before..]).cast();
        Rest { block: Arc::new(block), start, length: bytes }
    }

    #[cfg(asan)]
    fn map(bytes: usize) -> Rest {
        let mut block = vec![Line([0; LINE]); bytes.div_ceil(LINE)];
        let start = NonNull::from(block.as_mut_slice()).cast();
        Rest { block: Arc::new(block), start, length: bytes }
    }

    fn take(&mut self, length: usize) -> AlignedBytes {
        let start = self.start;
        self.length -= length;
        // SAFETY: the block is at least that long: the subtraction has not overflowed.
        self.start = unsafe { start.add(length) };
        AlignedBytes { start, length, _block: Arc::clone(&self.block) }
    }
}

// === impl AlignedBytes ===

impl AlignedBytes {
    /// All bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: this part of the block belongs to this value alone, and mapped memory is initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// All bytes, for writing.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; the borrow of `self` is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// The bytes as floats in native order.
    #[inline]
    pub fn as_floats(&self) -> &[f32] {
        // SAFETY: as in `as_slice`; a line is 16 floats' worth, aligned, and every bit pattern is a float.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.length / 4) }
    }

    /// The bytes as floats in native order, for writing.
    #[inline]
    pub fn as_mut_floats(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_floats`; the borrow of `self` is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length / 4) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zeros_on_cache_lines_and_nobody_elses() {
        let arena = Arena::default();
        let lengths = [1, 64, 65, HUGE - 64, 3 * HUGE, 32 * HUGE - 1, 32 * HUGE + 1, 100];
        let mut parts: Vec<AlignedBytes> =
            lengths.iter().map(|&bytes| arena.zeroed(bytes)).collect();
        for (index, (part, length)) in parts.iter_mut().zip(lengths).enumerate() {
            let bytes = part.as_mut_slice();
            assert_eq!(
                (bytes.len(), bytes.as_ptr().align_offset(64)),
                (length.next_multiple_of(64), 0)
            );
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(index as u8 + 1);
        }
        drop(arena);
        for (index, part) in parts.iter().enumerate() {
            assert!(part.as_slice().iter().all(|&byte| byte == index as u8 + 1));
            assert_eq!(part.as_floats().len() * 4, part.as_slice().len());
        }
    }
}
