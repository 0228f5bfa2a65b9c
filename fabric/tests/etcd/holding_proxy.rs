//! A proxy in front of etcd that can hold back what the client sends, from a chosen moment.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct HoldingProxy {
    port: u16,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Until etcd's first answer that contains a worker.
    Waiting,
    Holding,
    Released,
}

impl HoldingProxy {
    /// Holds back the client's bytes from the moment that a list of workers passes.
    pub async fn before(upstream: (&'static str, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, _) = watch::channel(State::Waiting);
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let etcd = TcpStream::connect(upstream).await.unwrap();
                let (client_reads, client_writes) = client.into_split();
                let (etcd_reads, etcd_writes) = etcd.into_split();
                tokio::spawn(pump_answers(etcd_reads, client_writes, shared.clone()));
                tokio::spawn(pump_requests(client_reads, etcd_writes, shared.subscribe()));
            }
        });
        Self { port, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub async fn wait_until_holding(&self) {
        self.state.subscribe().wait_for(|state| *state == State::Holding).await.unwrap();
    }

    pub fn release(&self) {
        self.state.send_replace(State::Released);
    }
}

async fn pump_answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: watch::Sender<State>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if buffer[..n].windows(9).any(|bytes| bytes == b"/jury/v1/") {
            state.send_if_modified(|state| {
                let begins = *state == State::Waiting;
                if begins {
                    *state = State::Holding;
                }
                begins
            });
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

async fn pump_requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| *state != State::Holding).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
