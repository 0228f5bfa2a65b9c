//! A server that is asked to stop while clients are connected and silent, over real sockets.
//!
//! Time is paused once all clients are connected: if the server waits for the grace period, it passes at once and shows
//! on the clock.

use std::net::SocketAddr;

use jury_fabric::connector::Connector;
use jury_fabric::transport::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{GRACE, Server, bind_any, check, score};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

async fn start() -> (SocketAddr, Server) {
    let (address, listener) = bind_any().await;
    (address, Server::start(Listener::Tcp(listener)))
}

/// A client that sends only `bytes`; it has been accepted when this returns.
async fn silent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    if bytes.len() > PREFACE.len() {
        let mut frame = [0; 9];
        connection.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3], 4, "the server's own SETTINGS");
    }
    // Connections are accepted in order: once a later one is served, this one has been accepted.
    let channel = Connector::new().connect(&address.to_string()).unwrap();
    check(&channel, "").await.unwrap();
    connection
}

#[tokio::test]
async fn a_client_that_is_connected_and_silent_does_not_hold_up_the_end() {
    let whole = [PREFACE, SETTINGS].concat();
    for sent in [&b""[..], &PREFACE[..10], &whole] {
        let (address, server) = start().await;
        let _silent = silent(address, sent).await;
        tokio::time::pause();
        let before = Instant::now();
        server.end().await;
        assert!(before.elapsed() < GRACE, "{} bytes were sent", sent.len());
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_call_keeps_its_grace_beside_silent_clients() {
    let (address, mut server) = start().await;
    let _silent = silent(address, &[PREFACE, SETTINGS].concat()).await;
    let channel = Connector::new().connect(&address.to_string()).unwrap();
    let running = score(&channel, "x");
    server.probe.arrivals.recv().await.unwrap();
    tokio::time::pause();
    server.shutdown.cancel();
    tokio::time::sleep(GRACE / 2).await;
    assert!(!server.serving.is_finished());
    server.probe.answers.add_permits(1);
    assert_eq!(running.await.unwrap().unwrap(), "x");
    server.serving.await.unwrap().unwrap();
}
