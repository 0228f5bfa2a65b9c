//! A server that answers with given bytes: recorded ones, or ones that no server should send.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The answer to a request.
pub struct Reply {
    pub bytes: Vec<u8>,
    /// Keep the connection open until the client closes it.
    pub hangs: bool,
    /// Sent repeatedly in the meantime; empty: nothing.
    pub meanwhile: &'static str,
}

/// A request that was received.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub body: Value,
}

/// A running server; it ends with its runtime.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Connections that the client closed while they hung.
    closed: watch::Sender<usize>,
    /// Handshakes that failed.
    refused: watch::Sender<usize>,
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

// === impl Reply ===

impl Reply {
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), hangs: false, meanwhile: "" }
    }

    pub fn with_status(status: &str, content_type: &str, body: &str) -> Self {
        let length = body.len();
        Self::bytes(format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    }

    pub fn json(body: &Value) -> Self {
        Self::with_status("200 OK", "application/json", &body.to_string())
    }

    /// A stream of these data lines, ended by closing the connection.
    pub fn events(data: &[&str]) -> Self {
        let body: String = data.iter().map(|data| format!("data: {data}\n\n")).collect();
        Self::bytes(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{body}"
        ))
    }

    pub fn and_hang(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// As [`Self::and_hang`], sending these bytes repeatedly.
    pub fn and_babble(self, meanwhile: &'static str) -> Self {
        Self { meanwhile, ..self.and_hang() }
    }
}

// === impl Server ===

impl Server {
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket of this test");
        Self::listen(listener, "http", answer, |accepted| async { Some(accepted) })
    }

    /// The same, over TLS.
    pub async fn start_with_tls(
        tls: TlsAcceptor,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket of this test");
        Self::listen(listener, "https", answer, move |accepted| {
            let handshake = tls.accept(accepted);
            async { handshake.await.ok() }
        })
    }

    /// Serves the connections that `open` makes of accepted ones; `None` means that the handshake failed.
    fn listen<C, O>(
        listener: TcpListener,
        scheme: &str,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        open: impl Fn(TcpStream) -> O + Send + 'static,
    ) -> Self
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        O: Future<Output = Option<C>> + Send + 'static,
    {
        let at = listener.local_addr().expect("a socket of this test");
        let server = Self {
            url: format!("{scheme}://{at}"),
            asked: Arc::default(),
            closed: watch::Sender::new(0),
            refused: watch::Sender::new(0),
        };
        let (asked, closed) = (server.asked.clone(), server.closed.clone());
        let refused = server.refused.clone();
        let answer: Arc<Answer> = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((accepted, _)) = listener.accept().await {
                let (answer, asked, closed) = (answer.clone(), asked.clone(), closed.clone());
                let (opened, refused) = (open(accepted), refused.clone());
                tokio::spawn(async move {
                    match opened.await {
                        Some(connection) => serve(connection, answer, asked, closed).await,
                        None => refused.send_modify(|refused| *refused += 1),
                    }
                });
            }
        });
        server
    }

    /// Waits until `count` handshakes have failed.
    pub async fn wait_for_refused(&self, count: usize) {
        let mut refused = self.refused.subscribe();
        refused.wait_for(|refused| *refused >= count).await.expect("a socket of this test");
    }

    /// Requests so far, in order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a socket of this test").clone()
    }

    /// Requests for texts so far.
    pub fn asked_for_texts(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.body["stream"] == true).collect()
    }

    /// Requests for a path so far.
    pub fn asked_for(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }

    /// Waits until the client has closed `count` connections that hung.
    pub async fn wait_for_closed(&self, count: usize) {
        self.closed
            .subscribe()
            .wait_for(|closed| *closed >= count)
            .await
            .expect("a socket of this test");
    }
}

async fn serve(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<Asked>>>,
    closed: watch::Sender<usize>,
) {
    let Some(request) = read_request(&mut connection).await else { return };
    let Reply { bytes, hangs, meanwhile } = answer(&request);
    asked.lock().expect("a socket of this test").push(request);
    drop(connection.write_all(&bytes).await);
    // In case TLS has buffered it.
    drop(connection.flush().await);
    if hangs {
        let mut rest = [0; 16];
        let (mut reads, mut writes) = tokio::io::split(connection);
        let babble = async {
            loop {
                if meanwhile.is_empty() || writes.write_all(meanwhile.as_bytes()).await.is_err() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let closes = async { while matches!(reads.read(&mut rest).await, Ok(1..)) {} };
        tokio::select! {
            () = closes => {}
            () = babble => {}
        }
        closed.send_modify(|closed| *closed += 1);
    }
}

async fn read_request(connection: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = connection.read(&mut piece).await.ok().filter(|&length| length > 0)?;
        bytes.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let wanted = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= wanted.unwrap_or(0) {
            let path = head.split_whitespace().nth(1)?.to_owned();
            return Some(Asked { path, body: serde_json::from_str(body).unwrap_or(Value::Null) });
        }
    }
}
