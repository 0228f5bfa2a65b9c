//! A connection that can be cut from outside, and that counts writes.
//!
//! tonic moves every accepted connection into its own task and keeps no handle to it, so dropping the server does not
//! end running calls. Failing reads and writes does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// State shared by all connections of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {
    cut: CancellationToken,
    /// The number of connections is the number of holders minus this one.
    open: Arc<()>,
    /// Writes so far.
    writes: Arc<AtomicU64>,
}

/// Wraps `inner` until the token is cancelled; then every read and write fails.
pub(super) struct Severable<Io> {
    inner: Io,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Held while the connection lives.
    _open: Arc<()>,
    writes: Arc<AtomicU64>,
    /// Signals that it has ended.
    _closed: DropGuard,
}

// === impl Connections ===

impl Connections {
    /// The number of open connections.
    pub(super) fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    /// Number of writes so far on all of them. While it changes, an answer is still being sent.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Cuts them all.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

// === impl Severable ===

impl<Io> Severable<Io> {
    /// The connection, and a token that is cancelled when it is dropped.
    pub(super) fn new(inner: Io, connections: &Connections) -> (Self, CancellationToken) {
        let closed = CancellationToken::new();
        let severable = Self {
            inner,
            cut: Box::pin(connections.cut.clone().cancelled_owned()),
            _open: Arc::clone(&connections.open),
            writes: Arc::clone(&connections.writes),
            _closed: closed.clone().drop_guard(),
        };
        (severable, closed)
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Fails once cut; otherwise registers the task to be woken by the cut.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server has ended"))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Severable<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Severable<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<Io: Connected> Connected for Severable<Io> {
    type ConnectInfo = Io::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}
