//! Connections that are asked to close at a certain age.

use std::time::Duration;

use jury_fabric::connector::Connector;
use jury_fabric::transport::{Listener, ServerConfig};
use jury_proto::{ErrorCode, JuryError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Server, bind_any, check, score};

const AGE: Duration = Duration::from_millis(20);
/// The HTTP/2 preface, with empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The frame type that asks a client to leave.
const GOAWAY: u8 = 7;

#[tokio::test]
async fn a_connection_is_asked_to_close_at_its_age() {
    let (address, listener) = bind_any().await;
    let config = ServerConfig { max_connection_age: Some(AGE), ..ServerConfig::default() };
    let server = Server::start_with(Listener::Tcp(listener), &config);
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(HELLO).await.unwrap();
    let mut header = [0; 9];
    while header[3] != GOAWAY {
        silent.read_exact(&mut header).await.unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        silent.read_exact(&mut frame).await.unwrap();
    }
    server.end().await;
}

#[tokio::test]
async fn calls_on_connections_that_age_end_well() {
    let (address, listener) = bind_any().await;
    let config = ServerConfig { max_connection_age: Some(AGE), ..ServerConfig::default() };
    let mut server = Server::start_with(Listener::Tcp(listener), &config);
    let channel = Connector::new().connect(&address.to_string()).unwrap();
    let older_than_its_connection = score(&channel, "x");
    server.probe.arrivals.recv().await.unwrap();

    let (mut n_answered, mut n_moved, began) = (0, 0, Instant::now());
    while began.elapsed() < 10 * AGE {
        match check(&channel, "").await {
            Ok(_) => n_answered += 1,
            // A call that was about to be sent when its connection closed: it is safe to retry, and clients do.
            Err(status) => {
                let error = JuryError::from(status);
                assert_eq!(error.code, ErrorCode::Unreachable, "{error}");
                n_moved += 1;
            }
        }
    }
    assert!(n_moved < n_answered, "{n_moved} of {n_answered} calls met the end of a connection");
    server.probe.answers.add_permits(1);
    assert_eq!(older_than_its_connection.await.unwrap().unwrap(), "x");
    server.end().await;
}
