//! From an address to a channel: the only place that dials Jury's own servers.
//!
//! ```text
//! http://host:port, host:port ──> TCP, kept alive by pings ──┐
//! https://host:port ────────────> the same over TLS ─────────┤
//! in-process:NAME ──────────────> a pipe in memory ──────────┴──> Channel
//! ```
//!
//! The first call opens a connection, and the next call after a break opens a new one. A connector without its own
//! [`ClientTls`] trusts the authorities that this machine trusts.

mod address;
mod dial;
mod greeting;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::tls::{ClientTls, ClientTlsFiles};
use crate::transport::{InProcessIncoming, in_process};

pub(crate) use address::parse;
pub use address::{AddressError, AddressProblem, check_callable};
pub(crate) use dial::addresses as addresses_of;

/// A peer that does not complete TCP (and TLS, if used) within this time counts as absent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Every connection is pinged this often, idle or not, so that a lost node is noticed without traffic.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// An unanswered ping ends the connection and every call on it after this time.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connecting may take, and when a silent connection is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
}

const LIMITS: Limits =
    Limits { connect: CONNECT_TIMEOUT, ping_interval: PING_INTERVAL, ping_timeout: PING_TIMEOUT };

/// Prefix of the address of a server inside this process.
const IN_PROCESS: &str = "in-process:";

/// Turns addresses into channels. Clones share the servers inside this process.
#[derive(Debug, Clone, Default)]
pub struct Connector {
    /// The channel to every server that was opened inside this process, by name. Entries are never removed: a caller
    /// may still hold the address of a server that has stopped, and learns that from its failed calls.
    in_process: Arc<Mutex<BTreeMap<String, Channel>>>,
    /// For `https`. If none was given, the first such address sets it to the machine's trusted authorities without a
    /// client certificate.
    tls: Arc<OnceLock<ClientTls>>,
}

// === impl Connector ===

impl Connector {
    /// Knows no server inside this process yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses `tls` for servers at `https` addresses.
    pub fn with_tls(tls: ClientTls) -> Self {
        Self { tls: Arc::new(OnceLock::from(tls)), ..Self::default() }
    }

    /// Returns a channel to `address`, written `https://host:port`, `http://host:port`, `host:port` (no TLS) or, for
    /// a server opened with [`Connector::open`], `in-process:NAME`.
    ///
    /// Nothing is connected yet. The first call connects, within 5 seconds, and fails with UNAVAILABLE if nothing
    /// listens there. A connection whose peer falls silent is given up after 20 seconds. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`AddressError`] if the text is malformed or this machine trusts no authority; never because the server is
    /// away.
    pub fn connect(&self, address: &str) -> Result<Channel, AddressError> {
        self.connect_within(address, LIMITS)
    }

    /// Same, with other limits.
    pub(crate) fn connect_within(
        &self,
        address: &str,
        limits: Limits,
    ) -> Result<Channel, AddressError> {
        if let Some(name) = address.strip_prefix(IN_PROCESS) {
            let pipes = self.in_process.lock().unwrap_or_else(PoisonError::into_inner);
            return pipes.get(name).cloned().ok_or_else(|| AddressError {
                address: address.to_owned(),
                problem: AddressProblem::NotInThisProcess,
            });
        }
        let uri = parse(address)?;
        let tls = match uri.scheme_str() {
            Some("https") => Some(self.tls(address)?),
            _ => None,
        };
        let endpoint = Endpoint::from(uri)
            .connect_timeout(limits.connect)
            .http2_keep_alive_interval(limits.ping_interval)
            .keep_alive_timeout(limits.ping_timeout)
            .keep_alive_while_idle(true);
        Ok(endpoint
            .connect_with_connector_lazy(service_fn(move |uri| dial::dial(uri, tls.clone()))))
    }

    /// Opens a server inside this process, replacing any other of the same name. Returns its address, and the
    /// connections that channels to it will open. Must be called inside a tokio runtime.
    pub fn open(&self, name: &str) -> (String, InProcessIncoming) {
        let (channel, incoming) = in_process();
        let mut pipes = self.in_process.lock().unwrap_or_else(PoisonError::into_inner);
        pipes.insert(name.to_owned(), channel);
        (format!("{IN_PROCESS}{name}"), incoming)
    }

    fn tls(&self, address: &str) -> Result<ClientTls, AddressError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let opened = ClientTls::open(&ClientTlsFiles::default()).map_err(|error| AddressError {
            address: address.to_owned(),
            problem: AddressProblem::Tls(error.to_string()),
        })?;
        Ok(self.tls.get_or_init(|| opened).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_server_that_was_opened_here_is_connected_inside_the_process() {
        let connector = Connector::new();
        let (address, _incoming) = connector.open("a");
        assert!(connector.clone().connect(&address).is_ok());
        let error = connector.connect("in-process:b").unwrap_err();
        assert_eq!(error.problem, AddressProblem::NotInThisProcess);
        assert!(Connector::new().connect(&address).is_err(), "another connector, another process");
    }
}
