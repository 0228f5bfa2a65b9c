//! Where a server takes its connections from.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::InProcessIncoming;

/// Where a server takes its connections from.
#[derive(Debug)]
pub enum Listener {
    /// The network.
    Tcp(TcpListener),
    /// The same process.
    InProcess(InProcessIncoming),
}

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
    /// The address belongs to no network interface of this machine.
    #[error("cannot listen on {address}: this machine has no such address; try 0.0.0.0 for all")]
    NotOurs {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refuses for another reason, such as a port below 1024.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// Listens on `address`; port 0 takes any free one (`local_addr` tells which).
///
/// # Errors
/// [`BindError`], with the address and the way out.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
        _ => BindError::Refused { address, source },
    })
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
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told_from_a_port_in_use() {
        // 192.0.2.0/24 is reserved for documentation: no machine has it.
        let error = bind(SocketAddr::from(([192, 0, 2, 1], 0))).await.unwrap_err();
        assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
    }
}
