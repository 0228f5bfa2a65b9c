//! Serves HTTP until told to stop, like [`super::serve`] for gRPC.
//!
//! ```text
//! accept ... -> shutdown -> no new connections, idle ones are closed
//!                        -> running calls finish, at most `grace` long
//!                        -> no call runs and nothing is written for a second: the rest is cut
//!                        -> the grace is over: whatever is left is cut
//! ```
//!
//! A call runs once its body has arrived completely. A client that has sent half a head or half a body is not served,
//! and does not hold up the shutdown.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::serve::Listener;
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::calls::{Calls, Holding, Running};
use super::idle::idle;
use super::peer::Peer;
use super::severable::{Connections, Severable};
use super::unread::{Back, unread};

/// Set once the call runs.
type Call = Arc<OnceLock<Running>>;

/// A listener whose connections can be cut.
pub(super) struct SeverableListener<L> {
    inner: L,
    open: Connections,
}

/// The body of a request; its call begins when the body ends.
struct Arriving {
    inner: Body,
    calls: Calls,
    call: Call,
    /// Receives the unread rest.
    back: Option<Back>,
}

/// Serves `routes` on `listener`, over TCP or TLS, until `shutdown` is cancelled and running calls have ended, or the
/// `grace` period has.
///
/// # Errors
/// If the listener fails. Cut calls are not an error: they are logged.
pub async fn serve_http<L>(
    routes: Router,
    listener: L,
    grace: Duration,
    shutdown: CancellationToken,
) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    let (open, calls) = (Connections::default(), Calls::new());
    let routes = routes.layer(from_fn_with_state(calls.clone(), counted));
    let listener = SeverableListener { inner: listener, open: open.clone() };
    let service = routes.into_make_service_with_connect_info::<Peer>();
    let served =
        axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let grace_ended = async {
        shutdown.cancelled().await;
        tokio::time::timeout(grace, idle(&calls, &open)).await
    };
    tokio::select! {
        ended = served => {
            debug!("HTTP server drained");
            return ended;
        }
        drained = grace_ended => match drained {
            Ok(()) => debug!(connections = open.open(), "no call runs, cutting HTTP connections"),
            Err(_) => warn!(
                calls_left = calls.running(),
                connections_left = open.open(),
                ?grace,
                "grace period ended, cutting HTTP connections"
            ),
        },
    }
    open.cut();
    Ok(())
}

// === impl SeverableListener ===

impl<L: Listener> Listener for SeverableListener<L> {
    type Io = Severable<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, L::Addr) {
        let (io, address) = self.inner.accept().await;
        let (io, _closed) = Severable::new(io, &self.open);
        (io, address)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.inner.local_addr()
    }
}

// === impl Arriving ===

impl Arriving {
    fn begin_if_whole(&self, is_whole: bool) {
        if is_whole {
            self.call.get_or_init(|| self.calls.begin());
        }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        self.begin_if_whole(matches!(frame, Poll::Ready(None)) || self.inner.is_end_stream());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.inner.is_end_stream()
            && let Some(back) = self.back.take()
        {
            drop(back.send(std::mem::take(&mut self.inner)));
        }
    }
}

// === private ===

/// Counts a call from the end of its request to the end of its answer. The answer waits until the client has sent its body.
async fn counted(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let call = Call::default();
    let (back, unread) = unread();
    // Such a client sends its body only after the server has agreed.
    let back = Some(back).filter(|_| !request.headers().contains_key(header::EXPECT));
    let request = request.map(|inner| {
        let arriving = Arriving { inner, calls, call: call.clone(), back };
        arriving.begin_if_whole(http_body::Body::is_end_stream(&arriving.inner));
        Body::new(arriving)
    });
    let response = next.run(request).await;
    unread.read_out().await;
    response.map(|inner| Body::new(Holding::new(inner, call)))
}
