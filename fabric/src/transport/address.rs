//! From an address as people write it to a channel.

use std::time::Duration;

use http::Uri;
use tonic::transport::{Channel, Endpoint};

/// A peer that does not complete TCP within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is pinged this often, idle or not, so that a lost node is seen without traffic.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A ping unanswered for this long ends the connection and every call on it.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a text is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is not an address: {problem}; write http://host:port or host:port")]
pub struct AddressError {
    /// The address as it was given.
    pub address: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A channel to `address`, written `http://host:port` or `host:port`.
///
/// Nothing is connected yet: the first call does that, within 5 seconds, and fails with
/// UNAVAILABLE when nobody listens. A connection whose peer falls silent is given up after 20
/// seconds. Must be called inside a tokio runtime.
///
/// # Errors
/// [`AddressError`] when the text is malformed; never because the server is away.
pub fn connect(address: &str) -> Result<Channel, AddressError> {
    let uri = parse(address)?;
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

/// The address as `http://host:port`, or what is wrong with it.
pub(crate) fn parse(address: &str) -> Result<Uri, AddressError> {
    let wrong = |problem| AddressError { address: address.to_owned(), problem };
    let trimmed = address.trim();
    let host_and_port = match trimmed.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => return Err(wrong("TLS is not supported yet")),
        Some(_) => return Err(wrong("unknown scheme")),
        None => trimmed,
    };
    let host_and_port = host_and_port.strip_suffix('/').unwrap_or(host_and_port);
    if host_and_port.is_empty() {
        return Err(wrong("it is empty"));
    }
    if host_and_port.contains('/') || host_and_port.contains('?') {
        return Err(wrong("it must not have a path"));
    }
    if host_and_port.contains('@') {
        return Err(wrong("it must not have a user name"));
    }
    let uri: Uri = format!("http://{host_and_port}/")
        .parse()
        .map_err(|_| wrong("it has characters that no host name has"))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    // The port is judged from the text: an `http::Uri` drops one above 65535 without a word.
    match host_and_port.rsplit_once(':').map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(1..)) => Ok(uri),
        Some(Ok(0)) => Err(wrong("nobody listens on port 0")),
        Some(Err(_)) => Err(wrong("its port is no number between 1 and 65535")),
        None => Err(wrong("it has no port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_port_is_an_address_with_or_without_scheme() {
        for address in [
            "worker-3:7711",
            "http://worker-3:7711",
            "http://worker-3:7711/",
            " 10.0.0.1:1 ",
            "[::1]:65535",
        ] {
            assert!(parse(address).is_ok(), "{address}");
        }
        assert_eq!(parse("worker-3:7711"), parse("http://worker-3:7711/"));
    }

    #[test]
    fn a_malformed_address_is_named_with_its_fault() {
        for (address, problem) in [
            ("", "it is empty"),
            ("http://", "it is empty"),
            ("worker", "it has no port"),
            ("http://worker", "it has no port"),
            ("worker:", "its port is no number between 1 and 65535"),
            ("worker:http", "its port is no number between 1 and 65535"),
            ("worker:70000", "its port is no number between 1 and 65535"),
            ("[::1]", "its port is no number between 1 and 65535"),
            ("worker:0", "nobody listens on port 0"),
            (":7711", "it has no host"),
            ("https://worker:7711", "TLS is not supported yet"),
            ("ftp://worker:7711", "unknown scheme"),
            ("http://worker:7711/path", "it must not have a path"),
            ("user@worker:7711", "it must not have a user name"),
            ("two words:7711", "it has characters that no host name has"),
        ] {
            let error = parse(address).unwrap_err();
            assert_eq!((error.problem, error.address.as_str()), (problem, address));
        }
    }
}
