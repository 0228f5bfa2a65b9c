//! gRPC inside one process: the same HTTP/2, over a pipe in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Bytes that one side may write before the other reads: a few HTTP/2 frames.
const PIPE_BYTES: usize = 256 << 10;
/// Connections that may wait to be accepted. A channel opens one at a time, so this is ample.
const BACKLOG: usize = 16;

/// The server's side of [`in_process`]: a stream of connections that ends with the last clone of the channel.
#[derive(Debug)]
pub struct InProcessIncoming {
    connections: mpsc::Receiver<DuplexStream>,
}

/// A channel, and the connections that it opens. Must be called inside a tokio runtime.
///
/// Calls made before the server accepts wait for it. Once the server's side is dropped, calls fail with UNAVAILABLE, as
/// they do over TCP.
pub fn in_process() -> (Channel, InProcessIncoming) {
    let (connect, connections) = mpsc::channel(BACKLOG);
    let connector = service_fn(move |_: http::Uri| {
        let connect = connect.clone();
        async move {
            let (client_side, server_side) = tokio::io::duplex(PIPE_BYTES);
            connect.send(server_side).await.map_err(|_| {
                io::Error::new(io::ErrorKind::ConnectionRefused, "the embedded server has ended")
            })?;
            Ok::<_, io::Error>(TokioIo::new(client_side))
        }
    });
    // The connector ignores the address; it only appears as the authority of the calls.
    let endpoint = Endpoint::from_static("http://in-process");
    (endpoint.connect_with_connector_lazy(connector), InProcessIncoming { connections })
}

impl Stream for InProcessIncoming {
    type Item = io::Result<DuplexStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(context).map(|connection| connection.map(Ok))
    }
}
