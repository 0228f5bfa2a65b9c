//! One HTTP/1.1 connection over TLS, byte by byte: the test decides when bytes are sent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::authority::Signed;

/// A connection that has completed its handshake.
pub struct Https {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

/// The status and the body of a response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

// === impl Https ===

impl Https {
    /// Connects to a server whose certificate is signed by the CA `ca`, presenting `shown`. With TLS 1.3, a server
    /// rejects a client's certificate only after that: the first read reports it.
    pub fn connect(address: &str, ca: &Path, shown: Option<&Signed>) -> io::Result<Self> {
        let address: SocketAddr = address.parse().expect("an address");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some(shown) => {
                let chain = vec![CertificateDer::from_pem_file(&shown.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&shown.key).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::from(address.ip());
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// One complete exchange; the connection stays open.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: jury\r\n\r\n"))?;
        self.answer()
    }

    pub fn send(&mut self, text: &str) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes())?;
        stream.flush()
    }

    /// Reads a response with a known length.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {first:?}"));
        let mut body = Vec::new();
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if let Some(length) = line.strip_prefix("content-length:") {
                body.resize(length.trim().parse().unwrap(), 0);
            }
            if line.is_empty() {
                break;
            }
        }
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body: String::from_utf8(body).unwrap() })
    }

    /// The next line, without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
