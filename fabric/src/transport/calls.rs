//! Counts running calls, for which a shutdown waits.
//!
//! Counting connections would not do: a client may be connected and idle. A gRPC call runs from its request until the
//! end of its answer; an HTTP call begins once its body is complete, because only then is there work.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tower::{Layer, Service};

/// The number of running calls. Clones share it; used as a layer, it counts the calls that pass through.
#[derive(Debug, Clone)]
pub(super) struct Calls(Arc<watch::Sender<usize>>);

/// The wrapped service, with every call counted.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    inner: S,
    calls: Calls,
}

/// One running call, until it is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<watch::Sender<usize>>);

/// The body of an answer, together with the guard that counts its call.
pub(super) struct Holding<B, H> {
    inner: B,
    _held: H,
}

// === impl Calls ===

impl Calls {
    /// With no calls running.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn running(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until no call is running.
    pub(super) async fn none(&self) {
        // This fails only if the sender is gone, and the sender is `self`.
        drop(self.0.subscribe().wait_for(|running| *running == 0).await);
    }

    pub(super) fn begin(&self) -> Running {
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

impl<S, In, Out> Service<Request<In>> for Counted<S>
where
    S: Service<Request<In>, Response = Response<Out>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Holding<Out, Running>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let running = self.calls.begin();
        let answered = self.inner.call(request);
        Box::pin(async move { Ok(answered.await?.map(|inner| Holding::new(inner, running))) })
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

// === impl Holding ===

impl<B, H> Holding<B, H> {
    pub(super) fn new(inner: B, held: H) -> Self {
        Self { inner, _held: held }
    }
}

impl<B: Body + Unpin, H: Unpin> Body for Holding<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
