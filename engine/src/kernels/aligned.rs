//! Memory aligned to cache lines, so that a vector load never straddles two.

#![allow(unsafe_code)] // Views of whole cache lines as bytes or floats.

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes that start on a cache line.
#[derive(Debug, Clone)]
pub(crate) struct AlignedBytes(Vec<Line>);

// === impl AlignedBytes ===

impl AlignedBytes {
    /// Zeros; the length is rounded up to whole lines.
    pub(crate) fn zeroed(bytes: usize) -> AlignedBytes {
        AlignedBytes(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: a `Line` is 64 initialised bytes without padding, and `u8` has no alignment.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 64) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; the borrow of `self` is unique.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 64) }
    }

    pub(crate) fn as_floats(&self) -> &[f32] {
        // SAFETY: a `Line` is 16 floats' worth of initialised bytes, aligned to 64; every bit pattern is a float.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }

    pub(crate) fn as_mut_floats(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_floats`; the borrow of `self` is unique.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }
}
