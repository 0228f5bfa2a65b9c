//! The address of a server, as people write it.

use http::Uri;

use crate::secret::without_user;

/// Why a text is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is not an address: {problem}")]
pub struct AddressError {
    /// The address as it was given, without a user and a password.
    pub address: String,
    /// What is wrong with it.
    pub problem: AddressProblem,
}

/// What is wrong with an address, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum AddressProblem {
    #[error("it is empty; {HOW_TO_WRITE}")]
    Empty,
    #[error("TLS is not possible: {0}")]
    Tls(String),
    #[error("the scheme {0:?} is unknown; {HOW_TO_WRITE}")]
    Scheme(String),
    #[error("it must not have a path; {HOW_TO_WRITE}")]
    Path,
    #[error("it must not have a user name; {HOW_TO_WRITE}")]
    User,
    #[error("an IPv6 address with a port wants brackets: {0}")]
    Brackets(String),
    #[error("it has no host; {HOW_TO_WRITE}")]
    NoHost,
    #[error("it has characters that no host name has; {HOW_TO_WRITE}")]
    Characters,
    #[error("its port is missing; write {0}:PORT")]
    NoPort(String),
    #[error("its port {0:?} is not a number between 1 and 65535")]
    Port(String),
    #[error("nobody listens on port 0")]
    PortZero,
    #[error("nobody can call {0}; write an address at which this machine is reached")]
    Unspecified(std::net::IpAddr),
    #[error("no server of this name is inside this process")]
    NotInThisProcess,
}

const HOW_TO_WRITE: &str = "write https://host:port, or http://host:port or host:port without TLS";

/// The address as `http://host:port` or `https://host:port`, or what is wrong with it.
pub(crate) fn parse(address: &str) -> Result<Uri, AddressError> {
    read(address.trim()).map_err(|problem| AddressError { address: without_user(address), problem })
}

/// Checks an address that is advertised for others to call.
///
/// # Errors
/// [`AddressError`] if it is malformed, or means every interface of a machine.
pub fn check_callable(address: &str) -> Result<(), AddressError> {
    let uri = parse(address)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_unspecified() => {
            let problem = AddressProblem::Unspecified(ip);
            Err(AddressError { address: address.to_owned(), problem })
        }
        _ => Ok(()),
    }
}

// === private ===

fn read(address: &str) -> Result<Uri, AddressProblem> {
    let (scheme, host_and_port) = match address.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some((scheme, _)) => return Err(AddressProblem::Scheme(scheme.to_owned())),
        None => ("http", address),
    };
    let host_and_port = host_and_port.strip_suffix('/').unwrap_or(host_and_port);
    if host_and_port.is_empty() {
        return Err(AddressProblem::Empty);
    }
    if host_and_port.contains(['/', '?', '#']) {
        return Err(AddressProblem::Path);
    }
    if host_and_port.contains('@') {
        return Err(AddressProblem::User);
    }
    let (host, port) = split_port(host_and_port)?;
    let Some(port) = port else { return Err(AddressProblem::NoPort(host.to_owned())) };
    if host.is_empty() {
        return Err(AddressProblem::NoHost);
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(0) => return Err(AddressProblem::PortZero),
        Ok(1..) if is_number => {}
        _ => return Err(AddressProblem::Port(port.to_owned())),
    }
    let uri =
        format!("{scheme}://{host}:{port}/").parse().map_err(|_| AddressProblem::Characters)?;
    let written: &Uri = &uri;
    // A host in brackets is not a name: the URI parser accepts anything between them.
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => written.host() == Some(host),
    };
    if is_host { Ok(uri) } else { Err(AddressProblem::Characters) }
}

/// Splits host and port. An IPv6 address is recognised as a host only in brackets.
fn split_port(text: &str) -> Result<(&str, Option<&str>), AddressProblem> {
    let ends_at = if text.starts_with('[') { text.find(']').map_or(0, |at| at + 1) } else { 0 };
    if ends_at == 0 && text.matches(':').count() > 1 {
        return Err(AddressProblem::Brackets(with_brackets(text)));
    }
    match text[ends_at..].split_once(':') {
        Some((host_rest, port)) => Ok((&text[..ends_at + host_rest.len()], Some(port))),
        None => Ok((text, None)),
    }
}

/// What somebody who wrote `::1:7497` probably means: the last group is the port. If the whole text is an address and
/// nothing separates a port from it, the port is reported as missing.
fn with_brackets(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((ip, port)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{ip}]:{port}"),
        _ => format!("[{text}]:PORT"),
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
            "https://worker-3:7711",
            " 10.0.0.1:1 ",
            "[::1]:65535",
            "http://[fd00::7]:7481",
        ] {
            assert!(parse(address).is_ok(), "{address}");
        }
        assert_eq!(parse("worker-3:7711"), parse("http://worker-3:7711/"));
    }

    #[test]
    fn a_malformed_address_is_named_with_its_fault() {
        use AddressProblem::*;
        for (address, problem) in [
            ("", Empty),
            ("http://", Empty),
            ("worker", NoPort("worker".into())),
            ("http://worker", NoPort("worker".into())),
            ("[::1]", NoPort("[::1]".into())),
            ("http://[::1]", NoPort("[::1]".into())),
            ("worker:", Port(String::new())),
            ("worker:http", Port("http".into())),
            ("worker:70000", Port("70000".into())),
            ("worker:+80", Port("+80".into())),
            ("worker:0", PortZero),
            (":7711", NoHost),
            ("https://worker", NoPort("worker".into())),
            ("ftp://worker:7711", Scheme("ftp".into())),
            ("http://worker:7711/path", Path),
            ("two words:7711", Characters),
            ("[worker]:7711", Characters),
            ("[::1:7711", Brackets("[[::1:7711]:PORT".into())),
        ] {
            let error = parse(address).unwrap_err();
            assert_eq!((error.problem, error.address.as_str()), (problem, address));
        }
    }

    #[test]
    fn a_user_or_a_password_in_an_address_is_refused_and_never_shown() {
        for address in
            ["alice:SEKRET@h:1", "https://SEKRET@h:1", "ftp://:SEKRET@h:1", "http://a:SEKRET@h:1/p"]
        {
            let told = parse(address).unwrap_err();
            assert!(!format!("{told} {told:?}").contains("SEKRET"), "{told}");
        }
        assert_eq!(parse("user@worker:7711").unwrap_err().problem, AddressProblem::User);
    }

    #[test]
    fn an_ipv6_address_without_brackets_is_told_how_it_is_written() {
        for (address, written) in [
            ("::1:7497", "[::1]:7497"),
            ("http://::1:7497", "[::1]:7497"),
            ("fd00::7:7481", "[fd00::7]:7481"),
            ("::1", "[::1]:PORT"),
        ] {
            let message = parse(address).unwrap_err().to_string();
            assert!(message.contains(&format!("wants brackets: {written}")), "{message}");
        }
    }
}
