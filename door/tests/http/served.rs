//! A door on a socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jury_fabric::transport::Reach;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::door::Door;

/// Time that running calls have to finish.
pub const GRACE: Duration = Duration::from_secs(20);

/// A door that listens.
pub struct Served {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub serving: JoinHandle<io::Result<()>>,
}

impl Served {
    pub async fn start(door: &Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let served =
            jury_door::serve(door.coordinator(), listener, Reach::Plain, GRACE, stop.clone());
        Self { address, stop, serving: tokio::spawn(served) }
    }

    /// A client that sends `text` and nothing more.
    pub async fn send(&self, text: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(text.as_bytes()).await.unwrap();
        connection
    }

    /// A client that asks, and has not read its answer.
    pub async fn begin(&self, path: &str, body: &str) -> TcpStream {
        self.send(&format!("{}{body}", post(path, &format!("Content-Length: {}", body.len()))))
            .await
    }
}

/// The head of a request whose body is JSON; `length` is how that body ends.
pub fn post(path: &str, length: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    )
}
