//! Where a server takes its connections from.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::warn;

use super::InProcessIncoming;
use crate::connector::addresses_of;
use crate::tls::ServerTls;

/// Where a server takes its connections from.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// TCP, at each address of a name.
    Several(Vec<TcpListener>),
    /// TCP with TLS, at each address of a name.
    Secure(Vec<TcpListener>, ServerTls),
    /// Connections inside this process.
    InProcess(InProcessIncoming),
}

/// A host and a port to listen on: `127.0.0.1:7480`, `[::1]:7480`, `localhost:7480`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

/// A text that is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write HOST:PORT, like 127.0.0.1:7480, localhost:7480 or [::1]:7480; 0.0.0.0 is every IPv4 address, port 0 any free port"
)]
pub struct NotAListenAddress;

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "cannot listen on {address}: the port is in use; \
         choose another, or port 0 for any free one"
    )]
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address does not belong to any network interface of this machine.
    #[error("cannot listen on {address}: this machine has no such address; try 0.0.0.0 for all")]
    NotOurs {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refuses for another reason, for example a port below 1024.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The host name cannot be resolved.
    #[error("cannot listen on {address}: the name has no address")]
    Unknown {
        /// The address asked for.
        address: ListenAddress,
        /// What the resolver says.
        source: io::Error,
    },
}

/// Attempts to find a free port that is free at every address of a name.
const PORT_TRIES: usize = 16;
/// A process that has run out of file descriptors waits this long before it accepts again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Listens on `address`. Port 0 takes any free one; `local_addr` returns it.
///
/// # Errors
/// [`BindError`], with the address and how to fix it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
        _ => BindError::Refused { address, source },
    })
}

/// Listens on every address of a name, at one port. Returns at least one listener. Addresses that this machine does
/// not have are skipped, as long as another one remains.
///
/// # Errors
/// [`BindError`], with the address and how to fix it.
pub async fn bind_all(address: &ListenAddress) -> Result<Vec<TcpListener>, BindError> {
    let unknown = |source| BindError::Unknown { address: address.clone(), source };
    let addresses = addresses_of(&address.host, address.port).await.map_err(unknown)?;
    if addresses.is_empty() {
        return Err(unknown(io::ErrorKind::NotFound.into()));
    }
    for _ in 1..PORT_TRIES {
        match bind_each(&addresses).await {
            // The port chosen at the first address is taken at another one.
            Err(BindError::InUse { .. }) if address.port == 0 => {}
            bound => return bound,
        }
    }
    bind_each(&addresses).await
}

/// Handles a failed `accept`: nothing if one client's connection broke, otherwise a log line and a pause.
pub(super) async fn after_failed_accept(error: io::Error) {
    use io::ErrorKind as E;
    if matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::Interrupted) {
        return;
    }
    warn!(%error, "cannot accept connections, trying again");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

// === private ===

async fn bind_each(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut left_out = None;
    for &address in addresses {
        let port_taken = listeners.first().and_then(|first| first.local_addr().ok());
        let port = port_taken.map_or(address.port(), |first| first.port());
        match bind(SocketAddr::new(address.ip(), port)).await {
            Ok(listener) => listeners.push(listener),
            Err(error @ BindError::InUse { .. }) => return Err(error),
            Err(error) => left_out = Some(error),
        }
    }
    match left_out {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

// === impl ListenAddress ===

impl FromStr for ListenAddress {
    type Err = NotAListenAddress;

    fn from_str(text: &str) -> Result<Self, NotAListenAddress> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or(NotAListenAddress)?;
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        // Digits and dots alone are a misspelt IPv4 address.
        let is_name =
            host.bytes().all(is_of_a_name) && host.bytes().any(|b| b.is_ascii_alphabetic());
        match port.parse() {
            Ok(port) if is_name && is_number => Ok(Self { host: host.to_owned(), port }),
            _ => Err(NotAListenAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_way_out() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let taken = first.local_addr().unwrap();
        let message = bind(taken).await.unwrap_err().to_string();
        assert!(message.contains(&taken.to_string()), "{message}");
        assert!(message.contains("in use") && message.contains("port 0"), "{message}");

        let by_name = format!("localhost:{}", taken.port()).parse().unwrap();
        assert!(matches!(bind_all(&by_name).await, Err(BindError::InUse { .. })));
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told_from_a_port_in_use() {
        // 192.0.2.0/24 is reserved for documentation, so no machine has it.
        let error = bind(SocketAddr::from(([192, 0, 2, 1], 0))).await.unwrap_err();
        assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
        let error = bind_all(&"192.0.2.1:0".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_name_is_listened_on_at_all_its_addresses_and_one_port() {
        let listeners = bind_all(&"localhost:0".parse().unwrap()).await.unwrap();
        let addresses: Vec<_> = listeners.iter().map(|of| of.local_addr().unwrap()).collect();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
        let has_ipv6 = bind("[::1]:0".parse().unwrap()).await.is_ok();
        assert_eq!(addresses.iter().any(SocketAddr::is_ipv6), has_ipv6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_cannot_accept_is_not_asked_again_at_once() {
        let pause = async |error: io::Error| {
            let before = tokio::time::Instant::now();
            after_failed_accept(error).await;
            before.elapsed()
        };
        let too_many_open_files = io::Error::from_raw_os_error(24);
        assert_eq!(pause(too_many_open_files).await, ACCEPT_PAUSE);
        assert_eq!(pause(io::ErrorKind::ConnectionAborted.into()).await, Duration::ZERO);
    }

    #[test]
    fn an_address_to_listen_on_is_a_host_and_a_port() {
        for (text, written) in [
            ("127.0.0.1:7480", "127.0.0.1:7480"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:7480", "localhost:7480"),
            ("worker-3.example:1", "worker-3.example:1"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), written);
        }
        for text in [
            "",
            "7480",
            ":7480",
            "localhost",
            "localhost:",
            "localhost:http",
            "localhost:+1",
            "localhost:70000",
            "::1:7480",
            "1.2.3:80",
            "http://localhost:7480",
            "two words:1",
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(NotAListenAddress), "{text}");
        }
    }
}
