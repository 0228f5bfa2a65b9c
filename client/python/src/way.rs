//! What a task tells Python, and the way it goes: to a thread that waits, or to a callable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jury_grm::domain::Progress;
use pyo3::prelude::*;

use crate::process::Deliverer;
use crate::step::Steps;

/// One thing that a task tells.
pub enum Told<T> {
    /// The item at this place has gone on: [`Steps::take`] has how far.
    Step(u64),
    /// A result.
    Result(T),
}

/// The way from a task to Python.
pub struct Way<T> {
    to: To<T>,
    steps: Steps,
}

enum To<T> {
    Thread(Sender<Told<T>>),
    /// Gets a result, or the place of a step as a number.
    Callable(Deliverer, Arc<Py<PyAny>>),
}

// === impl Way ===

impl<T> Way<T>
where
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    /// A way to `callable`, or to a thread that waits at the second part.
    pub fn to(
        callable: Option<Py<PyAny>>,
        deliverer: Deliverer,
        steps: &Steps,
    ) -> (Self, Option<Receiver<Told<T>>>) {
        let steps = steps.clone();
        match callable {
            Some(callable) => {
                (Self { to: To::Callable(deliverer, Arc::new(callable)), steps }, None)
            }
            None => {
                let (sender, told) = channel();
                (Self { to: To::Thread(sender), steps }, Some(told))
            }
        }
    }

    /// Brings a result; false when nobody waits any more.
    pub fn result(&self, result: T) -> bool {
        match &self.to {
            To::Thread(sender) => sender.send(Told::Result(result)).is_ok(),
            To::Callable(deliverer, callable) => {
                deliverer.bring(callable, result);
                true
            }
        }
    }

    /// Tells how far the item at `place` is.
    pub fn step(&self, place: u64, step: Progress) {
        if !self.steps.put(place, step) {
            return;
        }
        match &self.to {
            // Nobody waits any more when it cannot be sent.
            To::Thread(sender) => drop(sender.send(Told::Step(place))),
            To::Callable(deliverer, callable) => deliverer.bring(callable, place),
        }
    }
}
