//! A phase of a job: work that the threads of a pool divide among themselves.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::wait_until;

/// Maximum ranges of a phase: as many as fit in a cache line beside the counts.
const RANGES: usize = 7;
/// Increments for one piece claimed from the front of a range, and from its back.
const FROM_FRONT: u64 = 1;
const FROM_BACK: u64 = 1 << 32;

/// Work that is claimed piece by piece; used once. Each phase has its own cache line, so that phases do not disturb
/// each other.
///
/// Each thread has a range of neighbouring pieces, which it claims from the front; threads that have finished their own
/// claim from the back of others' ranges. So neighbouring pieces, whose results may share cache lines, mostly have one
/// writer, and a thread that works on a part of a matrix or a row works on the same part in the next phase.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Phase {
    /// Pieces claimed from each range: from the front (low half) and from the back (high half).
    claimed: [AtomicU64; RANGES],
    /// Pieces that are finished.
    done: AtomicU32,
    /// The number of pieces plus one, once a thread has set it.
    told: AtomicU32,
}

/// A thread's part in a phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParallelFor<'a> {
    phase: &'a Phase,
    thread: ThreadIndex,
}

/// One of the threads that run a job: number `number` of `count`.
#[derive(Debug, Clone, Copy)]
pub struct ThreadIndex {
    /// This thread's number, below `count`.
    pub number: usize,
    /// Number of threads.
    pub count: usize,
}

// === impl ThreadIndex ===

impl ThreadIndex {
    /// The first piece of this thread's range.
    #[inline]
    pub fn first_piece(self, pieces: usize) -> usize {
        let ranges = self.ranges();
        pieces * (self.number % ranges) / ranges
    }

    /// Number of ranges of a phase; with many threads, some share one.
    fn ranges(self) -> usize {
        self.count.min(RANGES)
    }
}

// === impl Phase ===

impl Phase {
    /// A thread's part in this phase.
    #[inline]
    pub(crate) fn parallel_for(&self, thread: ThreadIndex) -> ParallelFor<'_> {
        ParallelFor { phase: self, thread }
    }
}

// === impl ParallelFor ===

impl ParallelFor<'_> {
    /// Claims and does pieces `0 .. pieces` until none is left, then waits for those that others claimed. What is
    /// written in the phase is visible after it.
    ///
    /// # Panics
    /// Another thread has passed a different number of pieces.
    #[cfg(test)]
    pub(crate) fn run(self, pieces: usize, mut work: impl FnMut(usize)) {
        self.run_with_next(pieces, |piece, _next| work(piece));
    }

    /// The same for work that can use the index of the piece that the thread does next in its range (to prefetch its
    /// data meanwhile). Another thread may still take that piece.
    pub(crate) fn run_with_next(self, pieces: usize, mut work: impl FnMut(usize, Option<usize>)) {
        self.tell(pieces);
        let (own, mut finished) = (self.range(self.own(), pieces), 0);
        while let Some(piece) = self.claim(pieces) {
            let is_next = own.contains(&piece) && piece + 1 < own.end;
            work(piece, is_next.then_some(piece + 1));
            finished += 1;
        }
        if finished > 0 {
            self.phase.done.fetch_add(finished, Ordering::Release);
        }
        wait_until(|| self.phase.done.load(Ordering::Acquire) as usize == pieces);
    }

    /// With different numbers of pieces, one thread would leave the phase while another is still in it.
    #[inline]
    fn tell(self, pieces: usize) {
        let number = u32::try_from(pieces + 1).expect("a phase has less than 2^32 pieces");
        let (told, order) = (&self.phase.told, Ordering::Relaxed);
        let found = match told.load(order) {
            0 => told.compare_exchange(0, number, order, order).unwrap_or_else(|found| found),
            found => found,
        };
        assert!(found == 0 || found == number, "threads disagree on the pieces of a phase");
    }

    #[inline]
    fn own(self) -> usize {
        self.thread.number % self.thread.ranges()
    }

    #[inline]
    fn range(self, number: usize, pieces: usize) -> Range<usize> {
        let ranges = self.thread.ranges();
        pieces * number / ranges..pieces * (number + 1) / ranges
    }

    /// Claims a piece of the thread's own range, or else of another.
    #[inline]
    fn claim(self, pieces: usize) -> Option<usize> {
        let (own, ranges) = (self.own(), self.thread.ranges());
        self.claim_from(own, FROM_FRONT, pieces).or_else(|| {
            (1..ranges).find_map(|next| self.claim_from((own + next) % ranges, FROM_BACK, pieces))
        })
    }

    #[inline]
    fn claim_from(self, number: usize, end: u64, pieces: usize) -> Option<usize> {
        let (range, claimed) = (self.range(number, pieces), &self.phase.claimed[number]);
        let halves = |claimed: u64| [claimed % FROM_BACK, claimed / FROM_BACK].map(|n| n as usize);
        let is_left = |[front, back]: [usize; 2]| front + back < range.len();
        // Reading first keeps threads that find nothing from taking the cache line away.
        if !is_left(halves(claimed.load(Ordering::Relaxed))) {
            return None;
        }
        let [front, back] = halves(claimed.fetch_add(end, Ordering::Relaxed));
        if !is_left([front, back]) {
            return None;
        }
        Some(if end == FROM_FRONT { range.start + front } else { range.end - 1 - back })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_thread_goes_through_its_own_range_first_and_others_from_the_back() {
        let phase = Phase::default();
        let (thread, mut order) = (ThreadIndex { number: 1, count: 2 }, Vec::new());
        phase.parallel_for(thread).run_with_next(6, |piece, next| order.push((piece, next)));
        assert_eq!(order[..3], [(3, Some(4)), (4, Some(5)), (5, None)]);
        assert_eq!(order[3..].iter().map(|&(piece, _)| piece).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(thread.first_piece(6), 3);
    }
}
