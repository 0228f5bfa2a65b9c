//! Pages of bytes.

#![allow(unsafe_code)] // Hands out pages, to be read or to be stored to atomically.

use std::sync::atomic::AtomicU8;

use super::access::{Access, Mode};
use crate::cpu::disjoint::Disjoint;
use crate::cpu::thread_pool::{Claim, Phases};

/// Pages whose tokens are written by different threads. Bytes of different tokens are interleaved, so there are no
/// slices to hand out: bytes are stored one by one, as atomics, which cost the same as plain byte stores.
#[derive(Debug)]
pub struct SharedPages<'a> {
    phases: &'a Phases,
    access: Access,
    pages: Vec<Disjoint<'a, u8>>,
}

// === impl SharedPages ===

// Functions panic if the claim belongs to another job, if the page does not exist, or if a phase both writes and reads.
impl<'a> SharedPages<'a> {
    /// Borrows the pages for the threads of a job.
    pub fn new(phases: &'a Phases, pages: impl Iterator<Item = &'a mut [u8]>) -> SharedPages<'a> {
        SharedPages { phases, access: Access::default(), pages: pages.map(Disjoint::new).collect() }
    }

    /// A page for writing, in a phase that reads none.
    #[inline]
    pub fn write<'p>(&self, claim: &'p Claim<'_>, page: usize) -> &'p [AtomicU8]
    where
        'a: 'p,
    {
        claim.assert_of(self.phases);
        self.access.enter(claim, Mode::Bytes);
        // SAFETY: this phase hands out only atomics, which end before it does.
        unsafe { self.pages[page].atomic_bytes() }
    }

    /// A page for reading, in a phase that writes none.
    #[inline]
    pub fn read<'p>(&self, claim: &'p Claim<'_>, page: usize) -> &'p [u8]
    where
        'a: 'p,
    {
        claim.assert_of(self.phases);
        self.access.enter(claim, Mode::Read);
        let page = &self.pages[page];
        // SAFETY: nothing is written in this phase; the slice ends before it does.
        unsafe { page.read(0..page.len()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn a_phase_reads_what_an_earlier_one_wrote_and_never_both() {
        let (mut page, mut phases) = ([0; 8], Phases::default());
        phases.restart(3, 1);
        let pages = SharedPages::new(&phases, std::iter::once(&mut page[..]));
        let mut thread = phases.thread(0);
        thread.run(8, |claim, at| pages.write(claim, 0)[at].store(at as u8, Ordering::Relaxed));
        thread.run(1, |claim, _| assert_eq!(pages.read(claim, 0), [0, 1, 2, 3, 4, 5, 6, 7]));
        let both = std::panic::AssertUnwindSafe(|| {
            thread.run(1, |claim, _| {
                pages.read(claim, 0);
                pages.write(claim, 0);
            });
        });
        assert!(std::panic::catch_unwind(both).is_err());
    }
}
