//! Connects to the host and port of an address, trying every address of a name in the resolver's order.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};

use super::greeting::greet;
use super::wire::Wire;
use crate::tls::ClientTls;

/// Connects to the first address of the host that accepts the connection, with TLS on top if `tls` is given.
///
/// # Errors
/// The last address's error, the name's lack of addresses, or why TLS failed. The caller limits the time.
pub(super) async fn dial(uri: Uri, tls: Option<ClientTls>) -> io::Result<TokioIo<Wire>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(80);
    let mut error = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in addresses(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(TokioIo::new(match &tls {
                    None => Wire::Plain(stream),
                    Some(tls) => {
                        let secure = tls.handshake(host, stream).await?;
                        Wire::Secure(Box::new(greet(secure).await?))
                    }
                }));
            }
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

/// Every address of a host. `localhost` means both loopback addresses (RFC 6761), even if the hosts file lists only
/// one.
pub(crate) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    Ok(lookup_host((host, port)).await?.collect())
}
