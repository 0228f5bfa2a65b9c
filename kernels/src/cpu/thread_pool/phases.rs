//! The phases of a job, in order.

use super::phase::{Phase, ThreadIndex};

/// The phases of one job. All threads go through them in the same order.
#[derive(Debug, Default)]
pub struct Phases {
    phases: Vec<Phase>,
    threads: usize,
}

/// A thread of the pool, on its way through the phases of a job.
#[derive(Debug)]
pub struct PoolThread<'a> {
    phases: &'a Phases,
    index: ThreadIndex,
    next: usize,
}

/// The proof that a piece of a phase is in progress. While it exists, the phase is not over: all earlier phases are,
/// and no later one has begun.
///
/// It is lent for the duration of the piece, and cannot be copied.
#[derive(Debug)]
pub struct Claim<'a> {
    phases: &'a Phases,
    /// Number of the phase, from 1.
    number: u16,
}

// === impl Phases ===

impl Phases {
    /// Starts over with `phases` new phases, for a job of `threads` threads.
    ///
    /// # Panics
    /// There are more than 65,535.
    pub fn restart(&mut self, phases: usize, threads: usize) {
        assert!(phases <= usize::from(u16::MAX), "a job has 65,535 phases at most");
        self.phases.clear();
        self.phases.resize_with(phases, Phase::default);
        self.threads = threads.max(1);
    }

    /// The thread with this number, before the first phase.
    pub fn thread(&self, number: usize) -> PoolThread<'_> {
        let index = ThreadIndex { number, count: self.threads };
        PoolThread { phases: self, index, next: 0 }
    }
}

// === impl PoolThread ===

impl PoolThread<'_> {
    /// Index of the thread.
    #[inline]
    pub fn index(&self) -> ThreadIndex {
        self.index
    }

    /// Runs the next phase: claims and does pieces `0 .. pieces` until none is left, then waits for those that others
    /// claimed. What is written in the phase is visible after it. A thread that arrives after the phase is over does
    /// nothing in it.
    ///
    /// # Panics
    /// Another thread has passed a different number of pieces for this phase, or there are no phases left.
    pub fn run(&mut self, pieces: usize, mut work: impl FnMut(&Claim<'_>, usize)) {
        self.run_with_next(pieces, |claim, piece, _next| work(claim, piece));
    }

    /// The same for small work: neighbouring pieces are claimed together.
    pub fn run_in_chunks(
        &mut self,
        pieces: usize,
        chunk: usize,
        mut work: impl FnMut(&Claim<'_>, usize),
    ) {
        self.run(pieces.div_ceil(chunk), |claim, index| {
            (index * chunk..pieces.min((index + 1) * chunk)).for_each(|piece| work(claim, piece));
        });
    }

    /// The same for work that can use the index of the piece that the thread does next in its range (to prefetch its
    /// data meanwhile). Another thread may still take that piece.
    pub fn run_with_next(
        &mut self,
        pieces: usize,
        mut work: impl FnMut(&Claim<'_>, usize, Option<usize>),
    ) {
        let phase = self.phases.phases.get(self.next).expect("a job has as many phases as it said");
        // It fits: `restart` has checked that.
        let claim = Claim { phases: self.phases, number: self.next as u16 + 1 };
        phase.parallel_for(self.index).run_with_next(pieces, |piece, next| {
            work(&claim, piece, next);
        });
        // Incremented last, so that a thread that leaves a piece by a panic stays in its phase.
        self.next += 1;
    }
}

// === impl Claim ===

impl Claim<'_> {
    /// The phase's number in its job, from 1.
    #[inline]
    pub(crate) fn phase(&self) -> u16 {
        self.number
    }

    /// Panics unless the claim belongs to one of these phases.
    #[inline]
    pub(crate) fn assert_of(&self, phases: &Phases) {
        assert!(std::ptr::eq(self.phases, phases), "a claim of another job");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "threads disagree")]
    fn another_number_of_pieces_panics() {
        let mut phases = Phases::default();
        phases.restart(1, 2);
        phases.thread(0).run(3, |_, _| {});
        phases.thread(1).run(4, |_, _| {});
    }

    #[test]
    #[should_panic(expected = "as many phases as it said")]
    fn a_phase_too_many_panics() {
        let mut phases = Phases::default();
        phases.restart(1, 1);
        let mut thread = phases.thread(0);
        (0..2).for_each(|_| thread.run(1, |_, _| {}));
    }
}
