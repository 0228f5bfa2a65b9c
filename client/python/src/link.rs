//! One coordinator, as a Python client holds it.

use std::sync::{Mutex, PoisonError};

use jury_client::{Client, ClientConfig, InFlight, Token, TokenError};
use jury_fabric::connector::{Connector, check_callable};
use jury_fabric::secret::SecretString;
use jury_fabric::tls::{ClientTls, ClientTlsFiles, Identity};
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
    /// Certificates, where they are not this machine's.
    tls: Option<ClientTlsFiles>,
    /// The process's own client, and that process. Locked only while attached.
    client: Mutex<Option<(u32, Client)>>,
}

/// Authority, certificate, key, server name.
type Tls = (Option<String>, Option<String>, Option<String>, Option<String>);

#[pymethods]
impl Link {
    /// A link to `address`, with at most `in_flight` items of a batch unanswered; `None` follows the fleet. `tls` is for
    /// an https address, `token` a tenant's, and whether it may cross a network without TLS. The second part says what is
    /// wrong with the address, with `tls` or with `token`.
    #[staticmethod]
    fn open(
        address: String,
        in_flight: Option<usize>,
        tls: Option<Tls>,
        token: Option<(String, bool)>,
    ) -> (Option<Self>, Option<Fault>) {
        if let Err(error) = check_callable(&address) {
            return (None, Some(invalid(error.to_string(), Some("address".to_owned()))));
        }
        let tls = match tls.map(files).transpose() {
            Ok(tls) => tls,
            Err(problem) => return (None, Some(invalid(problem, Some("tls".to_owned())))),
        };
        let token = match token.map(|token| checked(token, &address)).transpose() {
            Ok(token) => token,
            Err(error) => {
                return (None, Some(invalid(error.to_string(), Some("token".to_owned()))));
            }
        };
        let in_flight = in_flight.map_or_else(InFlight::default, InFlight::Fixed);
        let config = ClientConfig { in_flight, token, ..ClientConfig::default() };
        (Some(Self { address, config, tls, client: Mutex::new(None) }), None)
    }

    /// Judges one item. With `on_done`, the outcome is brought to it; without, `Call.wait` waits for it. With progress,
    /// `on_done` gets 0 whenever `Call.step` has a step.
    #[pyo3(signature = (request, with_progress, on_done))]
    fn score(
        &self,
        py: Python<'_>,
        request: &Request,
        with_progress: bool,
        on_done: Option<Py<PyAny>>,
    ) -> PyResult<Call> {
        let (client, request) = (self.client(py)?, request.0.clone());
        Call::start(py, on_done, move |way| async move {
            outcome::of(match with_progress {
                false => client.score(request).await,
                true => client.score_with_progress(request, |step| way.step(0, step)).await,
            })
        })
    }

    /// Asks for the fleet and the load.
    #[pyo3(signature = (on_done))]
    fn status(&self, py: Python<'_>, on_done: Option<Py<PyAny>>) -> PyResult<Call> {
        let client = self.client(py)?;
        Call::start(py, on_done, |_| async move { outcome::of(client.status().await) })
    }

    /// Judges many items over one stream. With progress, `on_answer` gets a place whenever `Batch.step` has its step.
    #[pyo3(signature = (with_progress, on_answer))]
    fn score_many(
        &self,
        py: Python<'_>,
        with_progress: bool,
        on_answer: Option<Py<PyAny>>,
    ) -> PyResult<Batch> {
        Batch::start(py, self.client(py)?, with_progress, on_answer)
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
        let channel = self.connector()?.connect(&self.address).map_err(unusable)?;
        let client = Client::new(channel, self.config.clone());
        *slot = Some((here, client.clone()));
        Ok(client)
    }

    /// Must be called inside the runtime, in which certificates are looked at again.
    fn connector(&self) -> PyResult<Connector> {
        match &self.tls {
            Some(files) if *files != ClientTlsFiles::default() => {
                Ok(Connector::with_tls(ClientTls::open(files).map_err(unusable)?))
            }
            _ => Ok(Connector::new()),
        }
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

fn files((ca, certificate, key, server_name): Tls) -> Result<ClientTlsFiles, String> {
    let identity = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some(Identity { certificate: certificate.into(), key: key.into() })
        }
        _ => return Err("tls: cert and key go together".to_owned()),
    };
    Ok(ClientTlsFiles { ca: ca.map(Into::into), identity, server_name })
}

fn unusable(error: impl std::error::Error) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(error.to_string())
}

/// A token that may be sent to `address`.
fn checked(
    (secret, may_go_without_tls): (String, bool),
    address: &str,
) -> Result<Token, TokenError> {
    let token = Token::new(&SecretString::from(secret))?;
    if !may_go_without_tls {
        Token::check_way(address)?;
    }
    Ok(token)
}
