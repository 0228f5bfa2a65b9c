//! Many requests over one stream: pushed one by one, answered as they are ready.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use jury_client::Client;
use jury_grm::domain::ScoreRequest;
use pyo3::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::call::Task;
use crate::outcome::{self, Outcome, Request};
use crate::process;

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
    /// `None` when answers are brought to a callable. Unbounded, yet never longer than what was pushed and not taken.
    answers: Option<Mutex<Receiver<Answer>>>,
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

    /// An answer that is there already.
    fn poll(&self) -> Option<Answer> {
        let answers = self.answers.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        answers.try_recv().ok()
    }

    /// Waits for the next answer; `None` after the last one.
    fn wait(&self, py: Python<'_>) -> PyResult<Option<Answer>> {
        match &self.answers {
            Some(answers) => self.task.wait(py, answers),
            None => Ok(None),
        }
    }

    /// Cancels what is unanswered.
    fn cancel(&self) {
        self.task.cancel();
    }
}

impl Batch {
    /// Starts a stream; with `on_answer` each answer is brought there, and `None` after the last one.
    pub fn start(py: Python<'_>, client: Client, on_answer: Option<Py<PyAny>>) -> PyResult<Self> {
        let (runtime, deliverer) = process::runtime(py)?;
        let (requests, taken) = mpsc::channel(AHEAD);
        let answered = client.score_many(ReceiverStream::new(taken));
        let answered = answered.map(|(place, answer)| (place, outcome::of(answer)));
        let requests = Mutex::new(Some(requests));
        let (task, answers) = match on_answer {
            Some(on_answer) => {
                let on_answer = Arc::new(on_answer);
                let task = runtime.spawn(async move {
                    let mut answered = std::pin::pin!(answered);
                    while let Some(answer) = answered.next().await {
                        deliverer.bring(&on_answer, Some(answer));
                    }
                    deliverer.bring(&on_answer, None::<Answer>);
                });
                (task, None)
            }
            None => {
                let (sender, answers) = channel();
                let task = runtime.spawn(async move {
                    let mut answered = std::pin::pin!(answered);
                    while let Some(answer) = answered.next().await {
                        if sender.send(answer).is_err() {
                            return;
                        }
                    }
                });
                (task, Some(Mutex::new(answers)))
            }
        };
        Ok(Self { task: Task::new(task.abort_handle()), requests, answers })
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
