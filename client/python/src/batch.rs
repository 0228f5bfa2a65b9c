//! Many requests over one stream: pushed one by one, answered as they are ready.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::Either;
use jury_client::Client;
use jury_grm::domain::ScoreRequest;
use pyo3::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::call::Task;
use crate::outcome::{self, Outcome, Request};
use crate::process;
use crate::step::{Step, Steps};
use crate::way::{Told, Way};

/// Requests that wait to be sent: the most that the client has in flight by itself.
const AHEAD: usize = 256;

/// An answer: the request's place among those pushed, from 0, and its outcome.
type Answer = (u64, Outcome);

/// A stream of requests and answers. Dropping it cancels what is unanswered.
#[pyclass(frozen)]
pub struct Batch {
    task: Task,
    /// `None` once the requests have ended. Locked only while attached.
    requests: Mutex<Option<mpsc::Sender<ScoreRequest>>>,
    /// Answers, and `None` after the last one. No receiver when they are brought to a callable. Unbounded, yet never longer
    /// than what was pushed and not taken.
    told: Option<Mutex<Receiver<Told<Option<Answer>>>>>,
}

#[pymethods]
impl Batch {
    /// True when `push` has room for a request.
    fn has_room(&self) -> bool {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.as_ref().is_some_and(|requests| requests.capacity() > 0)
    }

    /// Adds a request; false when there is no room, or the stream has ended.
    fn push(&self, request: &Request) -> bool {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.as_ref().is_some_and(|requests| requests.try_send(request.0.clone()).is_ok())
    }

    /// Says that no more requests come.
    fn end(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// An answer that is there already. Steps before it are brought to `on_step`; when that raises, the batch ends.
    #[pyo3(signature = (on_step))]
    fn poll(&self, on_step: Option<Bound<'_, PyAny>>) -> PyResult<Option<Answer>> {
        match &self.told {
            Some(told) => Ok(self.task.poll(told, on_step.as_ref())?.flatten()),
            None => Ok(None),
        }
    }

    /// Waits for the next answer; `None` after the last one.
    #[pyo3(signature = (on_step))]
    fn wait(&self, py: Python<'_>, on_step: Option<Bound<'_, PyAny>>) -> PyResult<Option<Answer>> {
        match &self.told {
            Some(told) => Ok(self.task.wait(py, told, on_step.as_ref())?.flatten()),
            None => Ok(None),
        }
    }

    /// How far the item at `place` is, once after each time that the callable was told so.
    fn step(&self, place: u64) -> Option<Step> {
        self.task.step(place)
    }

    /// Cancels what is unanswered.
    fn cancel(&self) {
        self.task.cancel();
    }
}

impl Batch {
    /// Starts a stream; with `on_answer` each answer is brought there, and `None` after the last one.
    pub fn start(
        py: Python<'_>,
        client: Client,
        with_progress: bool,
        on_answer: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (runtime, deliverer) = process::runtime(py)?;
        let (requests, taken) = mpsc::channel(AHEAD);
        let taken = ReceiverStream::new(taken);
        let steps = Steps::default();
        let (way, told) = Way::to(on_answer, deliverer, &steps);
        let way = Arc::new(way);
        let answered = match with_progress {
            false => Either::Left(client.score_many(taken)),
            true => {
                let way = Arc::clone(&way);
                let tell = move |place, step| way.step(place, step);
                Either::Right(client.score_many_with_progress(taken, tell))
            }
        };
        let task = runtime.spawn(async move {
            let mut answered = std::pin::pin!(answered);
            while let Some((place, answer)) = answered.next().await {
                if !way.result(Some((place, outcome::of(answer)))) {
                    return;
                }
            }
            way.result(None);
        });
        let task = Task::new(task.abort_handle(), steps);
        Ok(Self { task, requests: Mutex::new(Some(requests)), told: told.map(Mutex::new) })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.task.is_here() {
            let requests = self.requests.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(requests.take());
        }
    }
}
