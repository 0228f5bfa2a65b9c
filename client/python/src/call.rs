//! One call: a task of the runtime, waited for by a thread or brought to a callable.

use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::outcome::{Outcome, cancelled};
use crate::process;
use crate::step::{Step, Steps};
use crate::way::{Told, Way};

/// How often a waiting thread looks for signals: Ctrl-C ends it within this time.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// A task of this process's runtime that ends when it is cancelled or dropped, and how far its items are.
pub struct Task {
    process: u32,
    /// `None` only while it is dropped.
    abort: Option<AbortHandle>,
    steps: Steps,
}

/// A call on its way. Dropping it cancels it.
#[pyclass(frozen)]
pub struct Call {
    task: Task,
    /// `None` when the outcome is brought to a callable.
    told: Option<Mutex<Receiver<Told<Outcome>>>>,
}

#[pymethods]
impl Call {
    /// Waits for the outcome, detached from the interpreter; a signal whose handler raises ends the call. Steps are
    /// brought to `on_step` meanwhile; when it raises, the call ends.
    #[pyo3(signature = (on_step))]
    fn wait(&self, py: Python<'_>, on_step: Option<Bound<'_, PyAny>>) -> PyResult<Outcome> {
        let Some(told) = &self.told else { return Ok(cancelled()) };
        Ok(self.task.wait(py, told, on_step.as_ref())?.unwrap_or_else(cancelled))
    }

    /// How far the call is, once after each time that its callable was told so.
    fn step(&self, place: u64) -> Option<Step> {
        self.task.step(place)
    }

    /// Cancels the call, and the samples with it.
    fn cancel(&self) {
        self.task.cancel();
    }
}

impl Call {
    /// Runs what `call` makes of the way to Python; with `on_done` that leads there.
    pub fn start<F>(
        py: Python<'_>,
        on_done: Option<Py<PyAny>>,
        call: impl FnOnce(Arc<Way<Outcome>>) -> F,
    ) -> PyResult<Self>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (runtime, deliverer) = process::runtime(py)?;
        let steps = Steps::default();
        let (way, told) = Way::to(on_done, deliverer, &steps);
        let way = Arc::new(way);
        let call = call(Arc::clone(&way));
        let task = runtime.spawn(async move {
            let outcome = call.await;
            way.result(outcome);
        });
        Ok(Self { task: Task::new(task.abort_handle(), steps), told: told.map(Mutex::new) })
    }
}

// === impl Task ===

impl Task {
    pub fn new(abort: AbortHandle, steps: Steps) -> Self {
        Self { process: std::process::id(), abort: Some(abort), steps }
    }

    pub fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    pub fn cancel(&self) {
        if let Some(abort) = self.abort.as_ref().filter(|_| self.is_here()) {
            abort.abort();
        }
    }

    /// How far the item at `place` is; `None` when that was taken already, or belongs to another process.
    pub fn step(&self, place: u64) -> Option<Step> {
        if self.is_here() { self.steps.take(place) } else { None }
    }

    /// The next result of the task; `None` when it has ended, or belongs to another process.
    pub fn wait<T: Send>(
        &self,
        py: Python<'_>,
        told: &Mutex<Receiver<Told<T>>>,
        on_step: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<T>> {
        while self.is_here() {
            let waited = py.detach(|| {
                let told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.recv_timeout(SIGNALS_EVERY)
            });
            match waited {
                Ok(Told::Result(result)) => return Ok(Some(result)),
                Ok(Told::Step(place)) => self.bring(place, on_step)?,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    py.check_signals().inspect_err(|_| self.cancel())?
                }
            }
        }
        Ok(None)
    }

    /// A result that is there already, after the steps before it.
    pub fn poll<T>(
        &self,
        told: &Mutex<Receiver<Told<T>>>,
        on_step: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<T>> {
        loop {
            // A statement of its own: what is brought may come back here.
            let next = told.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
            match next {
                Ok(Told::Result(result)) => return Ok(Some(result)),
                Ok(Told::Step(place)) => self.bring(place, on_step)?,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Brings the step of the item at `place` to `on_step`; when that raises, the task ends.
    fn bring(&self, place: u64, on_step: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let (Some(step), Some(on_step)) = (self.step(place), on_step) else { return Ok(()) };
        on_step.call1(step).map(drop).inspect_err(|_| self.cancel())
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
