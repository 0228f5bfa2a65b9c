//! From the host and port of an address to a connection: every address of a name is tried, in
//! the resolver's order.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};

use super::greeting::greet;
use super::wire::Wire;
use crate::tls::ClientTls;

/// Connects to the first address of the host that takes the connection, and speaks TLS over it where `tls` is given.
///
/// # Errors
/// The last address's error, that the name has none, or why there is no TLS. The caller bounds the time.
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

/// Every address of a host. `localhost` is both loopback addresses (RFC 6761), even where the hosts file knows only one.
pub(crate) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    Ok(lookup_host((host, port)).await?.collect())
}
