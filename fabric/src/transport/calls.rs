//! Which calls run: what a shutdown waits for.
//!
//! A connection says little about that: a client may be connected and silent. A call of gRPC runs from its
//! request until the end of its answer; one of HTTP begins once its body is whole, since only then is there work.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;
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
#[derive(Debug)]
pub(super) struct Running(Arc<watch::Sender<usize>>);

/// The answer of a call, which holds what counts the call.
pub(super) struct Holding<B, H> {
    inner: B,
    _held: H,
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
