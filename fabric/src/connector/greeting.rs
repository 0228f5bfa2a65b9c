//! HTTP/2's first words over TLS, and whether the server lets its client in.
//!
//! ```text
//! client ── handshake, its certificate, PREFACE ──> server
//! client <── SETTINGS, or the alert of a refusal ── server
//! ```
//!
//! In TLS 1.3 the client's side of the handshake is over before the server has judged the client's certificate: a refusal comes
//! in place of the server's first words. hyper would keep it to itself and tell the call that waits that its connection was closed.
//! So a connection counts as one when the server has spoken, and a refusal is an error of connecting.
//!
//! A server may speak at once, as ours do, or wait for the client's first words (RFC 9113, section 3.4): they are said here, and
//! what hyper says of them is dropped. One that waits for still more is waited for no longer than [`PATIENCE`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::tls::by_server;

/// What every client of HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A server that says nothing for this time gets what else the client has to say. Less than any limit for connecting.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection over TLS on which [`PREFACE`] was said.
pub(super) struct Greeted {
    stream: TlsStream<TcpStream>,
    /// Bytes of [`PREFACE`] that hyper has not yet tried to say.
    n_to_drop: usize,
}

/// Says the first words, and waits until the server lets the client in.
///
/// # Errors
/// Why it does not.
pub(super) async fn greet(mut stream: TlsStream<TcpStream>) -> io::Result<Greeted> {
    let said = say(&mut stream, PREFACE).await;
    // Where it could not be said, the server has closed the connection, and what it said before that tells why.
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
