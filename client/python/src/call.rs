//! One call: a task of the runtime, waited for by a thread or brought to a callable.

use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::outcome::{Outcome, cancelled};
use crate::process;

/// How often a waiting thread looks for signals: Ctrl-C ends it within this time.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// A task of this process's runtime that ends when it is cancelled or dropped.
pub struct Task {
    process: u32,
    /// `None` only while it is dropped.
    abort: Option<AbortHandle>,
}

/// A call on its way. Dropping it cancels it.
#[pyclass(frozen)]
pub struct Call {
    task: Task,
    /// `None` when the outcome is brought to a callable.
    outcome: Option<Mutex<Receiver<Outcome>>>,
}

#[pymethods]
impl Call {
    /// Waits for the outcome, detached from the interpreter; a signal whose handler raises ends the call.
    fn wait(&self, py: Python<'_>) -> PyResult<Outcome> {
        let Some(outcome) = &self.outcome else { return Ok(cancelled()) };
        Ok(self.task.wait(py, outcome)?.unwrap_or_else(cancelled))
    }

    /// Cancels the call, and the samples with it.
    fn cancel(&self) {
        self.task.cancel();
    }
}

impl Call {
    /// Runs `call`; with `on_done` its outcome is brought there.
    pub fn start(
        py: Python<'_>,
        on_done: Option<Py<PyAny>>,
        call: impl Future<Output = Outcome> + Send + 'static,
    ) -> PyResult<Self> {
        let (runtime, deliverer) = process::runtime(py)?;
        let (task, outcome) = match on_done {
            Some(on_done) => {
                let on_done = Arc::new(on_done);
                let task = runtime.spawn(async move { deliverer.bring(&on_done, call.await) });
                (task, None)
            }
            None => {
                let (sender, receiver) = sync_channel(1);
                // Nobody waits any more when it cannot be sent.
                let task = runtime.spawn(async move { drop(sender.send(call.await)) });
                (task, Some(Mutex::new(receiver)))
            }
        };
        Ok(Self { task: Task::new(task.abort_handle()), outcome })
    }
}

// === impl Task ===

impl Task {
    pub fn new(abort: AbortHandle) -> Self {
        Self { process: std::process::id(), abort: Some(abort) }
    }

    pub fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    pub fn cancel(&self) {
        if let Some(abort) = self.abort.as_ref().filter(|_| self.is_here()) {
            abort.abort();
        }
    }

    /// The next of what the task sends; `None` when it has ended, or belongs to another process.
    pub fn wait<T: Send>(
        &self,
        py: Python<'_>,
        results: &Mutex<Receiver<T>>,
    ) -> PyResult<Option<T>> {
        while self.is_here() {
            let waited = py.detach(|| {
                let results = results.lock().unwrap_or_else(PoisonError::into_inner);
                results.recv_timeout(SIGNALS_EVERY)
            });
            match waited {
                Ok(result) => return Ok(Some(result)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    py.check_signals().inspect_err(|_| self.cancel())?
                }
            }
        }
        Ok(None)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.cancel();
        if !self.is_here() {
            // It may be the last handle of a task whose connection is not ours to close.
            std::mem::forget(self.abort.take());
        }
    }
}
