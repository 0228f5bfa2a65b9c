//! The client's address of an HTTP connection.

use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::http::Extensions;
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpListener;

use super::TlsListener;
use super::http::SeverableListener;

/// The client's address, as an extension of each request: `ConnectInfo<Peer>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(SocketAddr);

// === impl Peer ===

impl Peer {
    /// The address in a request's extensions, if its server recorded one.
    pub fn of(extensions: &Extensions) -> Option<SocketAddr> {
        let info = extensions.get::<axum::extract::ConnectInfo<Self>>()?;
        Some(info.0.0)
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl<L: Listener<Addr = SocketAddr>> Connected<IncomingStream<'_, SeverableListener<L>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, SeverableListener<L>>) -> Self {
        Self(*stream.remote_addr())
    }
}
