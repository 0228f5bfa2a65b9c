//! Threads that work on one job together, and wait for each other inside it.
//!
//! A job is one closure that every member runs with its own number; `Crew::wait` is a barrier among them. Members
//! spin while a job is likely to come within microseconds and sleep otherwise: idle spinning takes a fifth of the
//! machine from whoever else has work.

#![allow(unsafe_code)] // Lends a borrowed closure to threads that are waited for.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// Rounds of spinning before a barrier gives its time slice away (a few microseconds).
const SPINS_BEFORE_YIELD: usize = 4_000;
/// Rounds, each with a yield, before an idle member sleeps (about the pause between two steps).
const YIELDS_BEFORE_SLEEP: usize = 200;

/// The threads of one engine; the thread that calls [`Team::run`] is member 0.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// One member's view of a running job.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    /// 0 .. `members`.
    pub(crate) member: usize,
    pub(crate) members: usize,
    shared: &'a Shared,
}

#[derive(Debug)]
struct Shared {
    members: usize,
    /// Grows by one a job; members wait for it.
    job_number: AtomicUsize,
    job: Mutex<Job>,
    wake: Condvar,
    /// Members that reached the barrier of the current round.
    arrived: AtomicUsize,
    round: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Job {
    None,
    Run(Pointer),
    Quit,
}

/// A job's closure with its lifetime removed.
#[derive(Clone, Copy)]
struct Pointer(*const (dyn Fn(&Crew<'_>) + Sync));

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
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
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

    /// Runs the job on all members and returns when all are done.
    pub(crate) fn run(&mut self, job: &(dyn Fn(&Crew<'_>) + Sync)) {
        let crew = Crew { member: 0, members: self.shared.members, shared: &self.shared };
        if self.threads.is_empty() {
            job(&crew);
            return;
        }
        // SAFETY: only the lifetime changes. Members use the pointer between the start of this job and the barrier
        // below, which this function does not leave before all have reached it; a panic ends the process.
        let pointer: *const (dyn Fn(&Crew<'_>) + Sync) = unsafe { std::mem::transmute(job) };
        self.shared.announce(Job::Run(Pointer(pointer)));
        let guard = AbortOnPanic;
        job(&crew);
        crew.wait();
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

// === impl Crew ===

impl Crew<'_> {
    /// Returns when all members have called it; what they wrote before is visible after.
    pub(crate) fn wait(&self) {
        if self.members > 1 {
            self.shared.barrier();
        }
    }

    /// This member's even share of `count` things.
    pub(crate) fn share(&self, count: usize) -> std::ops::Range<usize> {
        self.member * count / self.members..(self.member + 1) * count / self.members
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
                    let crew = Crew { member, members: self.members, shared: self };
                    // SAFETY: `Team::run` waits at the barrier below before the closure dies.
                    unsafe { (*job)(&crew) };
                    crew.wait();
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
        *job
    }

    fn announce(&self, next: Job) {
        let mut job = self.job.lock().expect("nothing panics under this lock");
        *job = next;
        self.job_number.fetch_add(1, Ordering::Release);
        drop(job);
        self.wake.notify_all();
    }

    fn barrier(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            if spins < SPINS_BEFORE_YIELD {
                spins += 1;
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
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
    fn every_member_runs_every_job_once_and_sees_what_others_wrote_before_the_barrier() {
        let mut team = Team::new(4).expect("threads");
        let sums: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        for round in 1..=50 {
            team.run(&|crew| {
                sums[crew.member].fetch_add(1, Ordering::Relaxed);
                crew.wait();
                for sum in &sums {
                    assert_eq!(sum.load(Ordering::Relaxed), round);
                }
                crew.wait();
            });
        }
    }
}
