//! Measures what the machine can do.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::Limits;
use crate::machine;
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::peak::{Floats, Integers, Operand, read_all};

/// Time for each window of arithmetic; the best of [`WINDOWS`] counts. Short, so that on a busy machine one of them is
/// likely to be undisturbed.
const WINDOW: Duration = Duration::from_millis(15);
/// Windows of arithmetic, and passes over memory.
const WINDOWS: usize = 16;
/// Passes between two reads of the clock: some tens of microseconds.
const PASSES: u64 = 16;
/// Size of the memory that is read, in multiples of the last cache level.
const CACHES: u64 = 4;
/// Minimum memory to read, in bytes, if the cache's size is unknown or small.
const LEAST_READ_BYTES: u64 = 256 << 20;
/// Maximum memory to read, in bytes: filling it takes time as well.
const MOST_READ_BYTES: u64 = 1 << 30;

/// Measures for about a second, with `threads` threads at once. Any other load on the machine lowers the result.
pub fn measure(threads: usize) -> Limits {
    let threads = threads.max(1);
    let (integers, floats) = (Integers::detect(), Floats::detect());
    let integer_gops = arithmetic(threads, |operand| integers.work(operand, PASSES));
    let float_gflops = arithmetic(threads, |operand| floats.work(operand, PASSES));
    Limits {
        threads,
        integer_instruction: integers.name().to_owned(),
        integer_gops: integer_gops / 1e9,
        float_gflops: float_gflops / 1e9,
        memory_gbps: memory(threads) / 1e9,
    }
}

/// Operations per second in the best window.
fn arithmetic(threads: usize, work: impl Fn(&Operand) -> u64 + Sync) -> f64 {
    best(threads, |_thread| {
        let operand = Operand::ones();
        let work = &work;
        move || {
            let started = Instant::now();
            let mut operations = 0;
            while started.elapsed() < WINDOW {
                operations += work(&operand);
            }
            operations as f64
        }
    })
}

/// Bytes per second in the best pass.
fn memory(threads: usize) -> f64 {
    let level = SimdLevel::detect();
    let room = machine::available_memory_bytes() / 4;
    let wanted = last_cache_bytes().unwrap_or(0) * CACHES;
    let bytes = wanted.clamp(LEAST_READ_BYTES, MOST_READ_BYTES).min(room);
    let words = (bytes as usize / threads / 8).max(1);
    best(threads, |_thread| {
        // Written by the thread that will read it, which on NUMA machines places it in that thread's local memory.
        let memory = vec![1_u64; words];
        move || {
            let mut sum = 0;
            read_all(level, &memory, &mut sum);
            std::hint::black_box(sum);
            (words * 8) as f64
        }
    })
}

/// Runs the same work on all threads [`WINDOWS`] times, starting together each time; returns the best ratio of the
/// summed work to the time until the last thread finished.
fn best<W: FnMut() -> f64>(threads: usize, prepare: impl Fn(usize) -> W + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let windows_of = |thread: usize| -> Vec<(Instant, Instant, f64)> {
        let mut work = prepare(thread);
        let window = |_| {
            barrier.wait();
            let started = Instant::now();
            let done = work();
            (started, Instant::now(), done)
        };
        (0..WINDOWS).map(window).collect()
    };
    let by_thread: Vec<Vec<_>> = std::thread::scope(|scope| {
        let spawned: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || windows_of(thread))).collect();
        let mut all = vec![windows_of(0)];
        // A panicking thread would leave the others waiting at the barrier, but nothing in it can panic.
        all.extend(spawned.into_iter().filter_map(|thread| thread.join().ok()));
        all
    });
    let rate = |window: usize| {
        let of_window = || by_thread.iter().filter_map(|windows| windows.get(window));
        let started = of_window().map(|&(started, ..)| started).min()?;
        let ended = of_window().map(|&(_, ended, _)| ended).max()?;
        let done: f64 = of_window().map(|&(.., done)| done).sum();
        Some(done / ended.duration_since(started).as_secs_f64().max(1e-9))
    };
    (0..WINDOWS).filter_map(rate).fold(0.0, f64::max)
}

/// Size of the largest cache that the system reports.
fn last_cache_bytes() -> Option<u64> {
    let size = |index: u32| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().strip_suffix('K')?.parse::<u64>().ok()
    };
    (0..8).filter_map(size).max().map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_positive_and_finite() {
        let found = measure(2);
        for value in [found.integer_gops, found.float_gflops, found.memory_gbps] {
            assert!(value.is_finite() && value > 0.0, "{found:?}");
        }
        assert_eq!(found.threads, 2);
    }
}
