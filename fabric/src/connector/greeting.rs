//! The start of HTTP/2 over TLS, and whether the server accepts its client.
//!
//! ```text
//! client ── handshake, its certificate, PREFACE ──> server
//! client <── SETTINGS, or the alert of a refusal ── server
//! ```
//!
//! In TLS 1.3 the client's side of the handshake finishes before the server has checked the client's certificate, so
//! a refusal arrives in place of the server's first bytes. hyper would keep that to itself and report to the waiting
//! call that its connection was closed. So a connection counts as established only once the server has sent
//! something, and a refusal is reported as a connection error.
//!
//! A server may send first, as ours do, or wait for the client's preface (RFC 9113, section 3.4). So the preface is
//! sent here, and hyper's own copy of it is dropped. A server that waits for still more is given no longer than
//! [`PATIENCE`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::tls::by_server;

/// The first bytes that every HTTP/2 client sends.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After this much silence from the server, the rest of the client's opening is sent anyway. Shorter than any
/// connection limit.
const PATIENCE: Duration = Duration::from_secs(1);

/// A TLS connection on which [`PREFACE`] has been sent.
pub(super) struct Greeted {
    stream: TlsStream<TcpStream>,
    /// Bytes of [`PREFACE`] that hyper has not yet tried to send.
    n_to_drop: usize,
}

/// Sends the preface, and waits until the server accepts the client.
///
/// # Errors
/// Why the server refused.
pub(super) async fn greet(mut stream: TlsStream<TcpStream>) -> io::Result<Greeted> {
    let said = say(&mut stream, PREFACE).await;
    // If it could not be sent, the server has closed the connection, and what it sent before that says why.
    let has_spoken = async { stream.fill_buf().await.map(|words| !words.is_empty()) };
    match tokio::time::timeout(PATIENCE, has_spoken).await {
        Ok(Ok(false)) => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection before it said anything",
        )),
        Ok(Err(error)) => Err(by_server(error)),
        Ok(Ok(true)) | Err(_) => said.map(|()| Greeted { stream, n_to_drop: PREFACE.len() }),
    }
}

async fn say(stream: &mut TlsStream<TcpStream>, words: &[u8]) -> io::Result<()> {
    stream.write_all(words).await?;
    stream.flush().await
}

// === impl Greeted ===

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.n_to_drop > 0 {
            let n_dropped = self.n_to_drop.min(bytes.len());
            self.n_to_drop -= n_dropped;
            return Poll::Ready(Ok(n_dropped));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.n_to_drop > 0 {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
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
