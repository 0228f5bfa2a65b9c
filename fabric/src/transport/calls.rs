//! Which calls run: what a shutdown waits for.
//!
//! A connection says little about that: a client may be connected and silent. A call runs from its
//! request until the end of its answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// The number of calls that run. Clones share it; as a layer, it counts what passes.
#[derive(Debug, Clone)]
pub(super) struct Calls(Arc<watch::Sender<usize>>);

/// The service underneath, every call counted.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    inner: S,
    calls: Calls,
}

/// One call that runs, until it is dropped.
struct Running(Arc<watch::Sender<usize>>);

/// The answer of a call that runs.
struct CountedBody {
    inner: Body,
    _running: Running,
}

// === impl Calls ===

impl Calls {
    /// None runs.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn running(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until none runs.
    pub(super) async fn none(&self) {
        // It fails only when the sender is gone, which is this one.
        drop(self.0.subscribe().wait_for(|running| *running == 0).await);
    }

    fn begin(&self) -> Running {
        self.0.send_modify(|running| *running += 1);
        Running(Arc::clone(&self.0))
    }
}

impl<S> Layer<S> for Calls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, calls: self.clone() }
    }
}

// === impl Counted ===

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let running = self.calls.begin();
        let answered = self.inner.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            Ok(answer.map(|inner| Body::new(CountedBody { inner, _running: running })))
        })
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

// === impl CountedBody ===

impl http_body::Body for CountedBody {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        Poll::Ready(ready!(Pin::new(&mut self.inner).poll_frame(context)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
