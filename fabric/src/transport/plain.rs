//! The answer to a client that does not use TLS on a port that requires it: in the client's own protocol, what to
//! write instead.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tls::Protocol;

const ADVICE: &str = "this port speaks TLS; write https:// for it";
/// HTTP/2's code REFUSED_STREAM: nothing was done, so the same call may be made elsewhere.
const REFUSED_STREAM: u32 = 7;
/// An empty SETTINGS frame, which HTTP/2 requires first.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY: u8 = 7;
/// Closing a connection with unread input resets it, and the answer is lost. So up to this much is read, for up to
/// this long.
const MOST_READ: u64 = 64 << 10;
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Answers and closes.
pub(super) async fn answer(mut tcp: TcpStream, protocol: Protocol) -> io::Result<()> {
    let answer = match protocol {
        Protocol::Grpc => goaway(),
        Protocol::Http => bad_request(),
    };
    tcp.write_all(&answer).await?;
    tcp.shutdown().await?;
    let mut rest = tcp.take(MOST_READ);
    let mut nowhere = tokio::io::sink();
    let drained = tokio::io::copy(&mut rest, &mut nowhere);
    // It does not matter whether the client or the time limit ends it.
    drop(tokio::time::timeout(READ_LIMIT, drained).await);
    Ok(())
}

// === private ===

/// HTTP/2: the end of the connection, with the advice as its debug data.
fn goaway() -> Vec<u8> {
    let length = u8::try_from(8 + ADVICE.len()).expect("the advice is short");
    let mut bytes = SETTINGS.to_vec();
    bytes.extend([0, 0, length, GOAWAY, 0, 0, 0, 0, 0]);
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(REFUSED_STREAM.to_be_bytes());
    bytes.extend(ADVICE.as_bytes());
    bytes
}

fn bad_request() -> Vec<u8> {
    let length = ADVICE.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{ADVICE}\n"
    )
    .into_bytes()
}
