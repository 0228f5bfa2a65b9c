//! Threads that work on one job together and wait for each other within it.
//!
//! ```text
//! phase.rs     pieces of work, claimed by whichever thread is free
//! phases.rs    the phases of a job, in order, and the proof that a piece of one is in progress
//! results.rs   results of pieces
//! ```
//!
//! A job is one closure that every thread runs with its own number. Work is claimed piece by piece, and
//! `PoolThread::run` returns when all pieces of a phase are done, *not* when all threads have arrived: a thread that
//! the system has descheduled delays the others only if it was in the middle of a piece. (With barriers between
//! threads, two threads on a busy machine were four times slower than one.) Threads spin while a job is likely to
//! arrive within microseconds and sleep otherwise: idle spinning would take a fifth of the machine from other work.

#![allow(unsafe_code)] // Lends a borrowed closure to threads that are waited for.

mod phase;
mod phases;
mod results;

pub use phase::ThreadIndex;
pub use phases::{Claim, Phases, PoolThread};
pub use results::Results;

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// Rounds of spinning before a waiting thread yields its time slice (a few microseconds).
const SPINS_BEFORE_YIELD: usize = 4_000;
/// Rounds, each with a yield, before an idle thread sleeps (about the pause between two steps).
const YIELDS_BEFORE_SLEEP: usize = 200;

/// The threads of one engine; the thread that calls [`ThreadPool::run`] is thread 0.
#[derive(Debug)]
pub struct ThreadPool {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    threads: usize,
    /// Incremented with every job; threads wait for it.
    job_number: AtomicUsize,
    job: Mutex<Job>,
    wake: Condvar,
    /// Threads that are running the current job; incremented only under the lock of `job`.
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

// SAFETY: the closure is `Sync`, and `ThreadPool::run` keeps it alive until all threads are done.
unsafe impl Send for Pointer {}

// === impl Pointer ===

impl std::fmt::Debug for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("job")
    }
}

// === impl ThreadPool ===

impl ThreadPool {
    /// Starts `threads - 1` threads, which sleep until the first job.
    pub fn new(threads: usize) -> std::io::Result<ThreadPool> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            threads,
            job_number: AtomicUsize::new(0),
            job: Mutex::new(Job::None),
            wake: Condvar::new(),
            inside: AtomicUsize::new(0),
        });
        let mut handles = Vec::new();
        for number in 1..threads {
            let shared = Arc::clone(&shared);
            let name = format!("jury-compute-{number}");
            handles.push(thread::Builder::new().name(name).spawn(move || shared.serve(number))?);
        }
        Ok(ThreadPool { shared, handles })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Runs the job (its argument is the thread's number) and returns when no thread runs it any more. A thread that
    /// arrives too late does not run it at all, so every piece of work must be claimed.
    pub fn run(&mut self, job: &(dyn Fn(usize) + Sync)) {
        if self.handles.is_empty() {
            job(0);
            return;
        }
        // SAFETY: only the lifetime changes. Threads use the pointer while they are counted in `inside`, and this
        // function does not return before the job is withdrawn and no thread is inside; a panic ends the process.
        let pointer: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(job) };
        let guard = AbortOnPanic;
        self.shared.announce(Job::Run(Pointer(pointer)));
        job(0);
        *self.shared.job.lock().expect("nothing panics under this lock") = Job::None;
        wait_until(|| self.shared.inside.load(Ordering::Acquire) == 0);
        std::mem::forget(guard);
    }
}

impl ThreadPool {
    /// The same for a job with separate data for each thread; `own` has one entry per thread.
    pub fn run_with<S: Send>(&mut self, own: &mut [S], job: impl Fn(usize, &mut S) + Sync) {
        let own: Vec<Mutex<&mut S>> = own.iter_mut().map(Mutex::new).collect();
        self.run(&|number| {
            job(number, &mut own[number].lock().expect("a panic ends the process"));
        });
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.announce(Job::Quit);
        for handle in self.handles.drain(..) {
            // A thread that panicked has already reported it.
            let _ = handle.join();
        }
    }
}

/// Spins, then yields, until a condition is true.
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
    fn serve(&self, number: usize) {
        let mut last_job = 0;
        loop {
            let job = self.next_job(&mut last_job);
            match job {
                Job::None => {}
                Job::Quit => return,
                Job::Run(Pointer(job)) => {
                    let guard = AbortOnPanic;
                    // SAFETY: this thread is counted in `inside`, so `ThreadPool::run` keeps the closure alive.
                    unsafe { (*job)(number) };
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

/// A panicking thread would leave the others waiting forever, and unwinding would free what they use.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::phase::Phase;
    use super::*;

    #[test]
    fn pieces_are_done_once_even_if_threads_never_come() {
        let mut pool = ThreadPool::new(3).expect("threads");
        for (pieces, count) in [(0, 5), (1, 5), (2, 3), (3, 5), (5, 9), (40, 5), (100, 64)] {
            let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            let phase = Phase::default();
            pool.run(&|number| {
                // As if there were more threads, which have been descheduled.
                phase.parallel_for(ThreadIndex { number, count }).run(pieces, |piece| {
                    counts[piece].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{pieces}");
        }
    }

    #[test]
    fn every_piece_of_every_phase_is_done_once_and_seen_by_the_next() {
        let mut pool = ThreadPool::new(4).expect("threads");
        for _ in 0..200 {
            let counts: Vec<AtomicUsize> = (0..10).map(|_| AtomicUsize::new(0)).collect();
            let phases: Vec<Phase> = (0..20).map(|_| Phase::default()).collect();
            let seen = AtomicUsize::new(0);
            pool.run(&|number| {
                let thread = ThreadIndex { number, count: 4 };
                for (round, phase) in phases.iter().enumerate() {
                    phase.parallel_for(thread).run(counts.len(), |piece| {
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
