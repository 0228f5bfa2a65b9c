//! Threads that work on one job together, and wait for each other inside it.
//!
//! A job is one closure that every member runs with its own number. Work is claimed piece by piece, and
//! `Turn::run` returns when all pieces of a phase are done, *not* when all members have come by: a member that the
//! system has put aside holds up nobody, unless it was put aside in the middle of a piece. (With barriers among
//! members, two threads on a busy machine were four times slower than one.) Members spin while a job is likely to come
//! within microseconds and sleep otherwise: idle spinning takes a fifth of the machine from whoever else has work.

#![allow(unsafe_code)] // Lends a borrowed closure to threads that are waited for.

use std::hint;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// Rounds of spinning before a waiting member gives its time slice away (a few microseconds).
const SPINS_BEFORE_YIELD: usize = 4_000;
/// Rounds, each with a yield, before an idle member sleeps (about the pause between two steps).
const YIELDS_BEFORE_SLEEP: usize = 200;

/// Ranges of a phase at most: as many as fit a cache line beside the count of what is done.
const RANGES: usize = 7;
/// One piece claimed from the front of a range, and from its back.
const FROM_FRONT: u64 = 1;
const FROM_BACK: u64 = 1 << 32;

/// The threads of one engine; the thread that calls [`Team::run`] is member 0.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Work that is claimed piece by piece; used once. A cache line of its own keeps phases from disturbing each other.
///
/// Each member has a range of neighbouring pieces, which it takes from the front; members that are through with theirs
/// take from the back of others'. So neighbouring pieces, whose results may share cache lines, mostly have one writer,
/// and whoever works on a part of a matrix or a row works on the same part in the next phase.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Phase {
    /// What was claimed of each range: from the front (low half) and from the back (high half).
    claimed: [AtomicU64; RANGES],
    done: AtomicUsize,
}

/// A member's part in a phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    phase: &'a Phase,
    member: Member,
}

/// One of the members that run a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) number: usize,
    /// Of all members.
    pub(crate) count: usize,
}

#[derive(Debug)]
struct Shared {
    members: usize,
    /// Grows by one a job; members wait for it.
    job_number: AtomicUsize,
    job: Mutex<Job>,
    wake: Condvar,
    /// Members that are running the current job; grows under the lock of `job` only.
    inside: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Job {
    None,
    Run(Pointer),
    Quit,
}

/// A job's closure with its lifetime removed.
#[derive(Clone, Copy)]
struct Pointer(*const (dyn Fn(usize) + Sync));

// SAFETY: the closure is `Sync`, and `Team::run` keeps it alive until all members are done.
unsafe impl Send for Pointer {}

// === impl Pointer ===

impl std::fmt::Debug for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("job")
    }
}

// === impl Team ===

impl Team {
    /// Makes `members - 1` threads; they sleep until the first job.
    pub(crate) fn new(members: usize) -> std::io::Result<Team> {
        let members = members.max(1);
        let shared = Arc::new(Shared {
            members,
            job_number: AtomicUsize::new(0),
            job: Mutex::new(Job::None),
            wake: Condvar::new(),
            inside: AtomicUsize::new(0),
        });
        let mut threads = Vec::new();
        for member in 1..members {
            let shared = Arc::clone(&shared);
            let name = format!("jury-compute-{member}");
            threads.push(thread::Builder::new().name(name).spawn(move || shared.serve(member))?);
        }
        Ok(Team { shared, threads })
    }

    /// Number of members.
    pub(crate) fn members(&self) -> usize {
        self.shared.members
    }

    /// Runs the job (it is told its member's number) and returns when no member runs it any more. A member that comes
    /// too late does not run it at all: every piece of work must be claimed.
    pub(crate) fn run(&mut self, job: &(dyn Fn(usize) + Sync)) {
        if self.threads.is_empty() {
            job(0);
            return;
        }
        // SAFETY: only the lifetime changes. Members use the pointer while they are counted in `inside`, and this
        // function does not return before the job is withdrawn and nobody is inside; a panic ends the process.
        let pointer: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(job) };
        let guard = AbortOnPanic;
        self.shared.announce(Job::Run(Pointer(pointer)));
        job(0);
        *self.shared.job.lock().expect("nothing panics under this lock") = Job::None;
        wait_until(|| self.shared.inside.load(Ordering::Acquire) == 0);
        std::mem::forget(guard);
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.announce(Job::Quit);
        for thread in self.threads.drain(..) {
            // A member that panicked has already told its story.
            let _ = thread.join();
        }
    }
}

// === impl Member ===

impl Member {
    /// The first piece of this member's range.
    pub(crate) fn first_piece(self, pieces: usize) -> usize {
        let ranges = self.ranges();
        pieces * (self.number % ranges) / ranges
    }

    /// Ranges of a phase; with many members, some share one.
    fn ranges(self) -> usize {
        self.count.min(RANGES)
    }
}

// === impl Phase ===

impl Phase {
    pub(crate) fn turn(&self, member: Member) -> Turn<'_> {
        Turn { phase: self, member }
    }
}

// === impl Turn ===

impl Turn<'_> {
    /// Claims and does pieces `0 .. pieces` until none is left, then waits for those that others claimed. All members
    /// must give the same number. What is written in the phase is visible after it.
    pub(crate) fn run(self, pieces: usize, mut work: impl FnMut(usize)) {
        self.run_ahead(pieces, |piece, _next| work(piece));
    }

    /// The same for small work: neighbouring pieces are claimed together.
    pub(crate) fn run_in_chunks(self, pieces: usize, chunk: usize, mut work: impl FnMut(usize)) {
        self.run(pieces.div_ceil(chunk), |index| {
            (index * chunk..pieces.min((index + 1) * chunk)).for_each(&mut work);
        });
    }

    /// The same for work that likes to know which piece the member does next in its range (to fetch its data
    /// meanwhile). The range's next piece may still be taken by another.
    pub(crate) fn run_ahead(self, pieces: usize, mut work: impl FnMut(usize, Option<usize>)) {
        let (own, mut finished) = (self.range(self.own(), pieces), 0);
        while let Some(piece) = self.claim(pieces) {
            let is_next = own.contains(&piece) && piece + 1 < own.end;
            work(piece, is_next.then_some(piece + 1));
            finished += 1;
        }
        if finished > 0 {
            self.phase.done.fetch_add(finished, Ordering::Release);
        }
        wait_until(|| self.phase.done.load(Ordering::Acquire) == pieces);
    }

    fn own(self) -> usize {
        self.member.number % self.member.ranges()
    }

    fn range(self, number: usize, pieces: usize) -> Range<usize> {
        let ranges = self.member.ranges();
        pieces * number / ranges..pieces * (number + 1) / ranges
    }

    /// A piece of the member's own range, or else of another.
    fn claim(self, pieces: usize) -> Option<usize> {
        let (own, ranges) = (self.own(), self.member.ranges());
        self.claim_from(own, FROM_FRONT, pieces).or_else(|| {
            (1..ranges).find_map(|next| self.claim_from((own + next) % ranges, FROM_BACK, pieces))
        })
    }

    fn claim_from(self, number: usize, end: u64, pieces: usize) -> Option<usize> {
        let (range, claimed) = (self.range(number, pieces), &self.phase.claimed[number]);
        let halves = |claimed: u64| [claimed % FROM_BACK, claimed / FROM_BACK].map(|n| n as usize);
        let is_left = |[front, back]: [usize; 2]| front + back < range.len();
        // Looking first keeps members that only pass by from taking the line away.
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

/// Spins, then yields, until something is true.
fn wait_until(is_true: impl Fn() -> bool) {
    let mut spins = 0;
    while !is_true() {
        if spins < SPINS_BEFORE_YIELD {
            spins += 1;
            hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn serve(&self, member: usize) {
        let mut last_job = 0;
        loop {
            let job = self.next_job(&mut last_job);
            match job {
                Job::None => {}
                Job::Quit => return,
                Job::Run(Pointer(job)) => {
                    let guard = AbortOnPanic;
                    // SAFETY: this member is counted in `inside`, so `Team::run` keeps the closure alive.
                    unsafe { (*job)(member) };
                    self.inside.fetch_sub(1, Ordering::Release);
                    std::mem::forget(guard);
                }
            }
        }
    }

    fn next_job(&self, last_job: &mut usize) -> Job {
        for round in 0..YIELDS_BEFORE_SLEEP {
            for _ in 0..100 {
                if self.job_number.load(Ordering::Acquire) != *last_job {
                    break;
                }
                hint::spin_loop();
            }
            if self.job_number.load(Ordering::Acquire) != *last_job {
                break;
            }
            if round > 2 {
                thread::yield_now();
            }
        }
        let mut job = self.job.lock().expect("nothing panics under this lock");
        while self.job_number.load(Ordering::Acquire) == *last_job {
            job = self.wake.wait(job).expect("nothing panics under this lock");
        }
        *last_job = self.job_number.load(Ordering::Acquire);
        if matches!(*job, Job::Run(_)) {
            self.inside.fetch_add(1, Ordering::Relaxed);
        }
        *job
    }

    fn announce(&self, next: Job) {
        let mut job = self.job.lock().expect("nothing panics under this lock");
        *job = next;
        self.job_number.fetch_add(1, Ordering::Release);
        drop(job);
        self.wake.notify_all();
    }
}

/// A member that panics would leave the others waiting for ever, and unwinding would free what they use.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_done_once_even_if_members_never_come() {
        let mut team = Team::new(3).expect("threads");
        for (pieces, count) in [(0, 5), (1, 5), (2, 3), (3, 5), (5, 9), (40, 5), (100, 64)] {
            let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            let phase = Phase::default();
            team.run(&|number| {
                // As if there were more members, who have been put aside.
                phase.turn(Member { number, count }).run(pieces, |piece| {
                    counts[piece].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{pieces}");
        }
    }

    #[test]
    fn a_lone_member_goes_through_its_own_range_first_and_others_from_the_back() {
        let phase = Phase::default();
        let (member, mut order) = (Member { number: 1, count: 2 }, Vec::new());
        phase.turn(member).run_ahead(6, |piece, next| order.push((piece, next)));
        assert_eq!(order[..3], [(3, Some(4)), (4, Some(5)), (5, None)]);
        assert_eq!(order[3..].iter().map(|&(piece, _)| piece).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(member.first_piece(6), 3);
    }

    #[test]
    fn every_piece_of_every_phase_is_done_once_and_seen_by_the_next() {
        let mut team = Team::new(4).expect("threads");
        for _ in 0..200 {
            let counts: Vec<AtomicUsize> = (0..10).map(|_| AtomicUsize::new(0)).collect();
            let phases: Vec<Phase> = (0..20).map(|_| Phase::default()).collect();
            let seen = AtomicUsize::new(0);
            team.run(&|number| {
                let member = Member { number, count: 4 };
                for (round, phase) in phases.iter().enumerate() {
                    phase.turn(member).run(counts.len(), |piece| {
                        if counts.iter().all(|count| count.load(Ordering::Relaxed) >= round) {
                            seen.fetch_add(1, Ordering::Relaxed);
                        }
                        counts[piece].fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 20));
            assert_eq!(seen.load(Ordering::Relaxed), 200);
        }
    }
}
