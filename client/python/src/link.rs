//! One coordinator, as a Python client holds it.

use std::sync::{Mutex, PoisonError};

use jury_client::{Client, ClientConfig, InFlight};
use jury_fabric::connector::{Connector, check_callable};
use pyo3::prelude::*;

use crate::batch::Batch;
use crate::call::Call;
use crate::outcome::{self, Fault, Request, invalid};
use crate::process;

/// The way to one coordinator. Nothing is connected before the first call of a process.
#[pyclass(frozen)]
pub struct Link {
    address: String,
    config: ClientConfig,
    /// The process's own client, and that process. Locked only while attached.
    client: Mutex<Option<(u32, Client)>>,
}

#[pymethods]
impl Link {
    /// A link to `address`, with at most `in_flight` items of a batch unanswered; `None` follows the fleet. The second
    /// part says what is wrong with the address.
    #[staticmethod]
    fn open(address: String, in_flight: Option<usize>) -> (Option<Self>, Option<Fault>) {
        if let Err(error) = check_callable(&address) {
            return (None, Some(invalid(error.to_string(), Some("address".to_owned()))));
        }
        let in_flight = in_flight.map_or_else(InFlight::default, InFlight::Fixed);
        let config = ClientConfig { in_flight, ..ClientConfig::default() };
        (Some(Self { address, config, client: Mutex::new(None) }), None)
    }

    /// Judges one item. With `on_done`, the outcome is brought to it; without, `Call.wait` waits for it.
    #[pyo3(signature = (request, on_done))]
    fn score(
        &self,
        py: Python<'_>,
        request: &Request,
        on_done: Option<Py<PyAny>>,
    ) -> PyResult<Call> {
        let (client, request) = (self.client(py)?, request.0.clone());
        Call::start(py, on_done, async move { outcome::of(client.score(request).await) })
    }

    /// Asks for the fleet and the load.
    #[pyo3(signature = (on_done))]
    fn status(&self, py: Python<'_>, on_done: Option<Py<PyAny>>) -> PyResult<Call> {
        let client = self.client(py)?;
        Call::start(py, on_done, async move { outcome::of(client.status().await) })
    }

    /// Judges many items over one stream.
    #[pyo3(signature = (on_answer))]
    fn score_many(&self, py: Python<'_>, on_answer: Option<Py<PyAny>>) -> PyResult<Batch> {
        Batch::start(py, self.client(py)?, on_answer)
    }
}

impl Link {
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        let (runtime, _) = process::runtime(py)?;
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let here = std::process::id();
        if let Some((_, client)) = slot.as_ref().filter(|(process, _)| *process == here) {
            return Ok(client.clone());
        }
        // Another process's connection is not ours to close.
        std::mem::forget(slot.take());
        let _inside = runtime.enter();
        let channel = Connector::new()
            .connect(&self.address)
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
        let client = Client::new(channel, self.config.clone());
        *slot = Some((here, client.clone()));
        Ok(client)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let slot = self.client.get_mut().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|(process, _)| *process != std::process::id()) {
            std::mem::forget(slot.take());
        }
    }
}
