//! Waiting for the runtime's work on the measuring thread.
//!
//! That thread outlives `jury bench`, which stops waiting for it when a signal ends the run midway. It must not be
//! inside the runtime while the runtime shuts down, because anything with a timer panics then. So the end of the run
//! waits until no thread waits here, and later calls are rejected.

use std::future::Future;

use anyhow::anyhow;
use jury_terminal::exit::{Exit, Failed};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A cheap handle. Its [`wait`](Self::wait) must be called from threads outside the runtime.
#[derive(Debug, Clone)]
pub struct Waits {
    runtime: Handle,
    /// Cancelled when the run has to end.
    stop: CancellationToken,
    /// Counts the waiting threads.
    waiting: TaskTracker,
}

// === impl Waits ===

impl Waits {
    /// Waits that end when `stop` is cancelled. Must be called inside a tokio runtime.
    pub fn until(stop: CancellationToken) -> Self {
        Self { runtime: Handle::current(), stop, waiting: TaskTracker::new() }
    }

    /// Waits for `work`.
    ///
    /// # Errors
    /// If the run has to end first; `work` is dropped then.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Failed> {
        // Counted before the check, so that the end of the run either waits for it or was already noticed here.
        let _counted = self.waiting.token();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    Err(Failed::new(Exit::Interrupted, anyhow!("the run was asked to end")))
                }
                done = work => Ok(done),
            }
        })
    }

    /// Ends all waits and returns when no thread waits any more.
    pub async fn end(&self) {
        self.stop.cancel();
        self.waiting.close();
        self.waiting.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    fn waits(runtime: &Runtime) -> Waits {
        let _inside = runtime.enter();
        Waits::until(CancellationToken::new())
    }

    /// Anything with a timer panics when the runtime is shut down, as an upstream's client once did after SIGTERM.
    #[test]
    fn a_run_that_ends_takes_nobody_with_it_who_waits_for_a_timer() {
        let runtime = runtime();
        let waits = waits(&runtime);
        let of_thread = waits.clone();
        let (say, said) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            of_thread.wait(async {
                say.send(()).unwrap();
                loop {
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                }
            })
        });
        said.recv().unwrap();
        runtime.block_on(waits.end());
        runtime.shutdown_background();
        let ended: Result<(), Failed> = thread.join().expect("no panic");
        assert_eq!(ended.unwrap_err().exit, Exit::Interrupted);
    }

    #[test]
    fn whoever_comes_after_the_end_is_refused_and_reaches_no_timer() {
        let runtime = runtime();
        let waits = waits(&runtime);
        runtime.block_on(waits.end());
        runtime.shutdown_background();
        let work = async { tokio::time::sleep(Duration::ZERO).await };
        let late = thread::spawn(move || waits.wait(work));
        let refused = late.join().expect("no panic");
        assert_eq!(refused.unwrap_err().exit, Exit::Interrupted);
    }

    #[test]
    fn work_that_is_done_in_time_is_given_back() {
        let runtime = runtime();
        assert_eq!(waits(&runtime).wait(async { 7 }).unwrap(), 7);
    }
}
