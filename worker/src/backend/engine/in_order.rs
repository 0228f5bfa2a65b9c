//! Runs work on several threads and delivers the results in the order in which the work was pushed.
//!
//! ```text
//! push ─> waiting ─> thread: Stage::work ─> done ─> Stage::deliver, in the order of the pushes
//! ```
//!
//! The waiting work is bounded. Work that is no longer wanted can be removed at any time, unless a thread is working on
//! it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The work that the threads do.
pub(super) trait Stage: Send + Sync + 'static {
    type In: Send;
    type Out: Send;

    /// Memory that an input holds until it has been processed.
    fn bytes(input: &Self::In) -> usize;

    /// May take as long as it needs; `None`: nothing to deliver.
    fn work(&self, input: Self::In) -> Option<Self::Out>;

    /// Must not block.
    fn deliver(&self, output: Self::Out);
}

/// Limits on the work in progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Maximum inputs: waiting, in progress, or finished and waiting for an earlier one.
    pub(super) inputs: usize,
    /// Maximum bytes of the inputs that wait or are in progress. A single input is accepted whatever its size.
    pub(super) bytes: usize,
}

/// Owns the threads. They end when it is dropped; waiting work is dropped with it.
pub(super) struct InOrder<S: Stage> {
    shared: Arc<Shared<S>>,
}

struct Shared<S: Stage> {
    stage: S,
    limits: Limits,
    state: Mutex<State<S>>,
    /// Notified when work is pushed, and at the end.
    changed: Condvar,
}

struct State<S: Stage> {
    closed: bool,
    waiting: VecDeque<Waiting<S::In>>,
    /// Bytes of the inputs that wait or are in progress.
    bytes: usize,
    /// Results that wait for earlier ones, by their number.
    done: BTreeMap<u64, Option<S::Out>>,
    /// Number of the next input.
    next_in: u64,
    /// Number of the next result to deliver.
    next_out: u64,
}

struct Waiting<In> {
    number: u64,
    bytes: usize,
    input: In,
}

// === impl InOrder ===

impl<S: Stage> InOrder<S> {
    pub(super) fn start(name: &str, threads: usize, limits: Limits, stage: S) -> io::Result<Self> {
        let state = State {
            closed: false,
            waiting: VecDeque::new(),
            bytes: 0,
            done: BTreeMap::new(),
            next_in: 0,
            next_out: 0,
        };
        let shared =
            Arc::new(Shared { stage, limits, state: Mutex::new(state), changed: Condvar::new() });
        // Created first: if a thread cannot be started, dropping this ends those that were.
        let started = Self { shared };
        for _ in 0..threads {
            let shared = started.shared.clone();
            thread::Builder::new().name(name.to_owned()).spawn(move || shared.run())?;
        }
        Ok(started)
    }

    /// Queues an input behind all others; returns it if a limit is reached.
    pub(super) fn push(&self, input: S::In) -> Result<(), S::In> {
        let (limits, bytes) = (self.shared.limits, S::bytes(&input));
        let mut state = self.shared.lock();
        let is_full = state.next_in - state.next_out >= limits.inputs as u64;
        if is_full || (state.bytes > 0 && state.bytes.saturating_add(bytes) > limits.bytes) {
            return Err(input);
        }
        let number = state.next_in;
        state.next_in += 1;
        state.bytes += bytes;
        state.waiting.push_back(Waiting { number, bytes, input });
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Drops waiting inputs that are not wanted.
    pub(super) fn retain(
        &self,
        mut input_is_wanted: impl FnMut(&mut S::In) -> bool,
        mut output_is_wanted: impl FnMut(&mut S::Out) -> bool,
    ) {
        let mut state = self.shared.lock();
        let state = &mut *state;
        state.waiting.retain_mut(|waiting| {
            let is_wanted = input_is_wanted(&mut waiting.input);
            if !is_wanted {
                state.bytes -= waiting.bytes;
                state.done.insert(waiting.number, None);
            }
            is_wanted
        });
        for output in state.done.values_mut() {
            if output.as_mut().is_some_and(|output| !output_is_wanted(output)) {
                *output = None;
            }
        }
        self.shared.deliver(state);
    }
}

impl<S: Stage> Drop for InOrder<S> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

// === impl Shared ===

impl<S: Stage> Shared<S> {
    fn run(&self) {
        while let Some(Waiting { number, bytes, input }) = self.next() {
            // A panic drops the input, but the results behind it must not wait for it forever.
            let output = catch_unwind(AssertUnwindSafe(|| self.stage.work(input)));
            if output.is_err() {
                tracing::error!("preparing a group panicked");
            }
            let mut state = self.lock();
            state.bytes -= bytes;
            state.done.insert(number, output.unwrap_or_default());
            self.deliver(&mut state);
        }
    }

    /// Waits for an input; `None` at the end.
    fn next(&self) -> Option<Waiting<S::In>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.waiting.pop_front() {
                return Some(next);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Delivers the results whose turn it is. Runs under the lock, so that no result overtakes another.
    fn deliver(&self, state: &mut State<S>) {
        while let Some(output) = state.done.remove(&state.next_out) {
            state.next_out += 1;
            if let Some(output) = output {
                self.stage.deliver(output);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Holds back multiples of ten until released, and panics at 13.
    struct Slow {
        gate: Mutex<mpsc::Receiver<()>>,
        delivered: mpsc::Sender<u32>,
    }

    impl Stage for Slow {
        type In = u32;
        type Out = u32;

        fn bytes(input: &u32) -> usize {
            *input as usize
        }

        fn work(&self, input: u32) -> Option<u32> {
            assert_ne!(input, 13);
            if input.is_multiple_of(10) {
                self.gate.lock().unwrap().recv().unwrap();
            }
            Some(input)
        }

        fn deliver(&self, output: u32) {
            self.delivered.send(output).unwrap();
        }
    }

    fn started(limit: usize) -> (InOrder<Slow>, mpsc::Sender<()>, mpsc::Receiver<u32>) {
        let (open, gate) = mpsc::channel();
        let (delivered, results) = mpsc::channel();
        let stage = Slow { gate: Mutex::new(gate), delivered };
        (
            InOrder::start("test", 2, Limits { inputs: limit, bytes: 100 }, stage).unwrap(),
            open,
            results,
        )
    }

    #[test]
    fn results_leave_in_the_order_of_the_pushes_and_a_panic_holds_nobody_back() {
        let (pool, open, results) = started(100);
        for input in [10, 1, 13, 20, 2] {
            pool.push(input).unwrap();
        }
        assert!(results.try_recv().is_err(), "nothing overtakes the first");
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(results.iter().take(4).collect::<Vec<_>>(), [10, 1, 20, 2]);
    }

    #[test]
    fn too_many_are_given_back_and_what_is_taken_out_makes_room() {
        let (pool, open, results) = started(2);
        pool.push(10).unwrap();
        pool.push(1).unwrap();
        assert_eq!(pool.push(2), Err(2));
        open.send(()).unwrap();
        assert_eq!(results.iter().take(2).collect::<Vec<_>>(), [10, 1]);
        pool.push(3).unwrap();
        assert_eq!(results.recv(), Ok(3));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_one_alone_is_always_taken() {
        let (pool, open, results) = started(100);
        pool.push(1000).unwrap();
        assert_eq!(pool.push(1), Err(1));
        open.send(()).unwrap();
        assert_eq!(results.recv(), Ok(1000));
        pool.push(10).unwrap();
        pool.push(20).unwrap();
        pool.push(60).unwrap();
        assert_eq!(pool.push(30), Err(30));
        pool.retain(|input| *input != 60, |_| true);
        pool.push(30).unwrap();
        (0..3).for_each(|_| open.send(()).unwrap());
        assert_eq!(results.iter().take(3).collect::<Vec<_>>(), [10, 20, 30]);
    }

    #[test]
    fn what_nobody_wants_is_dropped_before_its_turn() {
        let (pool, open, results) = started(100);
        for input in [10, 20, 1, 2] {
            pool.push(input).unwrap();
        }
        pool.retain(|input| *input != 1, |output| *output != 1);
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(results.iter().take(3).collect::<Vec<_>>(), [10, 20, 2]);
    }
}
