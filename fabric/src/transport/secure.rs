//! TLS connections: handshakes run concurrently, and each has a time limit.
//!
//! ```text
//! accept ─> first byte ── a TLS handshake ──> at most HANDSHAKE_LIMIT ─> a connection to serve
//!                     └── anything else ────> an answer that says what to write, and the end
//! ```
//!
//! A client that connects and stays silent holds up nobody: it has its own task until its time is up.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::debug;

use super::listen::after_failed_accept;
use super::plain;
use crate::tls::{Protocol, ServerTls, by_client, refused_handshake};

/// Time that a client has for its handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Time that a refused client has to read the reason.
const READ_OUT_LIMIT: Duration = Duration::from_secs(1);
/// Most concurrent handshakes; further clients wait in the system's queue.
const MOST_HANDSHAKES: usize = 1024;
/// Connections that may wait for the server.
const BACKLOG: usize = 16;
/// First byte of a TLS handshake; no HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// A TCP listener whose connections speak TLS.
///
/// For HTTP it is an [`axum::serve::Listener`].
#[derive(Debug)]
pub struct TlsListener {
    connections: mpsc::Receiver<SecureConnection>,
    address: SocketAddr,
}

/// A connection whose handshake is complete.
#[derive(Debug)]
pub struct SecureConnection {
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
}

// === impl TlsListener ===

impl TlsListener {
    /// HTTP/1.1 over TLS on `listener`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the listener is broken.
    pub fn http(listener: TcpListener, tls: ServerTls) -> io::Result<Self> {
        Self::start(listener, tls, Protocol::Http)
    }

    pub(super) fn grpc(listener: TcpListener, tls: ServerTls) -> io::Result<Self> {
        Self::start(listener, tls, Protocol::Grpc)
    }

    fn start(listener: TcpListener, tls: ServerTls, protocol: Protocol) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (ready, connections) = mpsc::channel(BACKLOG);
        tokio::spawn(accept_all(listener, tls, protocol, ready));
        Ok(Self { connections, address })
    }
}

impl Stream for TlsListener {
    type Item = io::Result<SecureConnection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = SecureConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (SecureConnection, SocketAddr) {
        match self.connections.recv().await {
            Some(connection) => {
                let peer = connection.peer;
                (connection, peer)
            }
            // The task ends only with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

// === impl SecureConnection ===

impl AsyncRead for SecureConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for SecureConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for SecureConnection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.get_ref().0.connect_info()
    }
}

// === private ===

/// Accepts until nobody takes connections any more.
async fn accept_all(
    listener: TcpListener,
    tls: ServerTls,
    protocol: Protocol,
    ready: mpsc::Sender<SecureConnection>,
) {
    let mut handshakes = JoinSet::new();
    loop {
        let has_room = handshakes.len() < MOST_HANDSHAKES;
        tokio::select! {
            () = ready.closed() => return,
            Some(_) = handshakes.join_next() => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((tcp, peer)) => {
                    let acceptor = TlsAcceptor::from(tls.config(protocol));
                    let ready = ready.clone();
                    handshakes.spawn(async move {
                        match handshake(tcp, acceptor, protocol).await {
                            // Sending fails when the server is stopping.
                            Ok(stream) => drop(ready.send(SecureConnection { stream, peer }).await),
                            Err(error) => {
                                refused_handshake();
                                debug!(%peer, %error, "no TLS connection");
                            }
                        }
                    });
                }
                Err(error) => after_failed_accept(error).await,
            },
        }
    }
}

async fn handshake(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    protocol: Protocol,
) -> io::Result<TlsStream<TcpStream>> {
    let shaken = async {
        tcp.set_nodelay(true)?;
        let mut first = [0];
        match tcp.peek(&mut first).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client said nothing")),
            _ if first[0] == HANDSHAKE => match acceptor.accept(tcp).into_fallible().await {
                Ok(stream) => Ok(stream),
                Err((error, tcp)) => {
                    read_out(tcp).await;
                    Err(by_client(error))
                }
            },
            _ => {
                plain::answer(tcp, protocol).await?;
                Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"))
            }
        }
    };
    match tokio::time::timeout(HANDSHAKE_LIMIT, shaken).await {
        Ok(ended) => ended,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Lets a refused client read the reason. It may already be sending, and closing a socket with unread bytes resets
/// it, which would lose the alert sent last.
async fn read_out(mut tcp: TcpStream) {
    if tcp.shutdown().await.is_err() {
        return;
    }
    let mut said = [0; 1024];
    let until_gone = async { while tcp.read(&mut said).await.is_ok_and(|n| n > 0) {} };
    drop(tokio::time::timeout(READ_OUT_LIMIT, until_gone).await);
}
