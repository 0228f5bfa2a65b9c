//! Host names that a server on this machine may be called by.

use std::net::IpAddr;

use axum::http::uri::Authority;

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Over plain TCP.
    Plain,
    /// Over TLS: the certificate vouches for the name, and cookies are sent only over TLS.
    Tls,
}

/// Whether a `Host` header is an address or `localhost`.
///
/// A page of another site may use a host name of its own that resolves to this address (DNS rebinding); the browser then
/// takes this server for that site.
pub fn is_own_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_this_machine_are_own_hosts_and_other_names_are_not() {
        for own in ["127.0.0.1:7495", "[::1]:7495", "localhost:7495", "LOCALHOST", "10.1.2.3"] {
            assert!(is_own_host(own), "{own}");
        }
        for other in
            ["evil.example", "127.0.0.1.evil.example:7495", "localhost.evil.example", "", "a b"]
        {
            assert!(!is_own_host(other), "{other}");
        }
    }
}
