//! What there is once in each process: a runtime for the calls, and a thread that delivers results to Python.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for connections and retries; the calls themselves only wait.
const RUNTIME_THREADS: usize = 2;

/// Locked only while attached: see the crate's header.
static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

/// Gives a result to a Python callable.
type Delivery = Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>;

/// Where results are brought that Python does not wait for.
#[derive(Clone)]
pub struct Deliverer(Sender<Message>);

enum Message {
    Deliver(Delivery),
    Stop,
}

struct Process {
    id: u32,
    runtime: Runtime,
    deliverer: Deliverer,
    thread: JoinHandle<()>,
}

/// The runtime of this process, made when it is not there yet.
pub fn runtime(py: Python<'_>) -> PyResult<(Handle, Deliverer)> {
    let _attached = py; // which is what the lock asks for
    let mut slot = PROCESS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if slot.as_ref().is_some_and(|process| process.id != std::process::id()) {
        // The parent's: its threads are not here, and its sockets are not ours to close.
        std::mem::forget(slot.take());
    }
    let process = match &mut *slot {
        Some(process) => process,
        empty => empty.insert(Process::start()?),
    };
    Ok((process.runtime.handle().clone(), process.deliverer.clone()))
}

/// Ends every call and the delivery of results; nothing of ours attaches afterwards. For the end of the interpreter.
#[pyfunction]
pub fn stop(py: Python<'_>) {
    let process = PROCESS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    match process {
        Some(process) if process.id == std::process::id() => py.detach(|| process.stop()),
        other => std::mem::forget(other),
    }
}

// === impl Process ===

impl Process {
    fn start() -> PyResult<Self> {
        let no_threads = |error| PyRuntimeError::new_err(format!("no threads for calls: {error}"));
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("jury")
            .enable_all()
            .build()
            .map_err(no_threads)?;
        let (sender, deliveries) = channel();
        let thread = std::thread::Builder::new()
            .name("jury-delivery".to_owned())
            .spawn(move || deliver(&deliveries))
            .map_err(no_threads)?;
        Ok(Self { id: std::process::id(), runtime, deliverer: Deliverer(sender), thread })
    }

    fn stop(self) {
        drop(self.deliverer.0.send(Message::Stop));
        drop(self.thread.join());
        self.runtime.shutdown_background();
    }
}

// === impl Deliverer ===

impl Deliverer {
    /// Calls `callback` with `value` soon.
    pub fn bring<T>(&self, callback: &Arc<Py<PyAny>>, value: T)
    where
        T: for<'py> IntoPyObject<'py> + Send + 'static,
    {
        let callback = Arc::clone(callback);
        let delivery: Delivery = Box::new(move |py| callback.call1(py, (value,)).map(drop));
        // After the end nobody waits any more.
        drop(self.0.send(Message::Deliver(delivery)));
    }
}

// === private ===

/// Delivers until told to stop: all that is there each time it is attached.
fn deliver(messages: &Receiver<Message>) {
    while let Ok(Message::Deliver(first)) = messages.recv() {
        let delivered = Python::try_attach(|py| {
            let mut next = Ok(Message::Deliver(first));
            while let Ok(Message::Deliver(delivery)) = next {
                if let Err(error) = delivery(py) {
                    error.write_unraisable(py, None);
                }
                next = messages.try_recv();
            }
            matches!(next, Err(TryRecvError::Empty))
        });
        if delivered != Some(true) {
            return;
        }
    }
}
