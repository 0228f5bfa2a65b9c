//! Writes log lines to stderr: only one thread ever waits for the reader of stderr.
//!
//! ```text
//! log line -> queue of [`QUEUED_LINES`] -> a thread of its own -> stderr
//! ```
//!
//! When the queue is full, new lines are dropped and counted.

use std::io::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait for stderr: some MiB.
const QUEUED_LINES: usize = 16_384;

/// How long the end of the process waits for a full queue.
const FINISHING: Duration = Duration::from_secs(1);
/// Time between two checks of the queue.
const PAUSE: Duration = Duration::from_millis(1);

/// Per process, because stderr is.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// The queue of log lines, and the thread that writes them.
#[derive(Debug)]
pub(super) struct Lines {
    writer: NonBlocking,
    guard: WorkerGuard,
}

/// Log lines that this process has dropped so far.
pub(super) fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

// === impl Lines ===

impl Lines {
    /// Lines that go to stderr.
    pub(super) fn to_stderr() -> Self {
        let lines = Self::to(std::io::stderr(), QUEUED_LINES);
        DROPPED.get_or_init(|| lines.writer.error_counter());
        lines
    }

    fn to(out: impl Write + Send + 'static, queued: usize) -> Self {
        let builder = NonBlockingBuilder::default().buffered_lines_limit(queued);
        let (writer, guard) = builder.thread_name("log lines").finish(out);
        Self { writer, guard }
    }

    pub(super) fn writer(&self) -> NonBlocking {
        self.writer.clone()
    }

    /// Waits until the queued lines have been written, for up to a second.
    pub(super) fn finish(mut self) {
        let gives_up = Instant::now() + FINISHING;
        while self.is_full() {
            if Instant::now() >= gives_up {
                // Nobody reads stderr. The guard would report that on stdout, which belongs to results.
                return std::mem::forget(self.guard);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether the queue has no room for one more line. Checks by sending an empty one.
    fn is_full(&mut self) -> bool {
        let counter = self.writer.error_counter();
        let before = counter.dropped_lines();
        drop(self.writer.write(b""));
        counter.dropped_lines() > before
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Writes one line per message, then waits for the next message.
    struct Gated {
        may_write: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _told = self.may_write.recv();
            self.written.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_reader_costs_the_lines_beyond_the_queue_and_they_are_counted() {
        let (allow, may_write) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::to(Gated { may_write, written: written.clone() }, 4);
        for _ in 0..10 {
            lines.writer().write_all(b"line\n").unwrap();
        }
        // Four are queued; a fifth may be with the thread.
        let dropped = lines.writer.error_counter().dropped_lines();
        assert!((5..=6).contains(&dropped), "{dropped}");
        drop(allow);
        lines.finish();
        assert_eq!(written.lock().unwrap().len(), (10 - dropped) * "line\n".len());
    }
}
