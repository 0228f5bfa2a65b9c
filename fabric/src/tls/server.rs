//! The server's side: its certificate, and which clients it accepts.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::callers::Named;
use super::client::server_name;
use super::pem::{self, Contents};
use super::reload::Reloading;
use super::{RELOAD_EVERY, TlsError, provider, validity};

/// A server's certificate files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The certificate followed by its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, without a password.
    pub key: PathBuf,
    /// Authorities of clients, PEM: only clients with a certificate from one of them are accepted. `None`: every
    /// client is.
    pub client_ca: Option<PathBuf>,
    /// Names or IP addresses: of the authority's clients, only those whose certificate is for one of these are accepted.
    /// Empty: all of them are.
    pub client_names: Vec<String>,
}

/// A server's TLS configuration, kept up to date with its files. Clones share it.
#[derive(Clone)]
pub struct ServerTls {
    configs: Reloading<Configs>,
    demands_certificates: bool,
}

/// The protocol spoken over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/2.
    Grpc,
    /// HTTP/1.1.
    Http,
}

/// One configuration for each [`Protocol`], for clients with a certificate and for any client.
struct Configs {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    http_for_anyone: Arc<ServerConfig>,
    not_after: Option<i64>,
}

// === impl ServerTls ===

impl ServerTls {
    /// Reads the files, and checks every few seconds whether they changed. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`TlsError`] names the file or the client name that cannot be used.
    pub fn open(files: &ServerTlsFiles) -> Result<Self, TlsError> {
        Self::open_with(files, RELOAD_EVERY)
    }

    /// Same, with the given interval between checks.
    ///
    /// # Errors
    /// [`TlsError`] names the file or the client name that cannot be used.
    pub fn open_with(files: &ServerTlsFiles, every: Duration) -> Result<Self, TlsError> {
        let mut paths = vec![files.certificate.clone(), files.key.clone()];
        paths.extend(files.client_ca.clone());
        let names = files.client_names.iter().cloned().map(server_name);
        let names: Arc<[_]> = names.collect::<Result<_, _>>()?;
        let configs =
            Reloading::open(paths, every, move |files: &[Contents]| Configs::of(files, &names))?;
        Ok(Self { configs, demands_certificates: files.client_ca.is_some() })
    }

    /// The same certificate, for a listener that also accepts clients without one: probes and scrapers seldom have
    /// one.
    pub fn for_anyone(&self) -> Self {
        Self { demands_certificates: false, ..self.clone() }
    }

    /// Expiry of the certificate currently served, in seconds of Unix time; `None` if it cannot be read.
    pub fn not_after(&self) -> Option<i64> {
        self.configs.current().not_after
    }

    pub(crate) fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let configs = self.configs.current();
        match (protocol, self.demands_certificates) {
            // Without a client CA these accept any client as well.
            (Protocol::Grpc, _) => Arc::clone(&configs.grpc),
            (Protocol::Http, true) => Arc::clone(&configs.http),
            (Protocol::Http, false) => Arc::clone(&configs.http_for_anyone),
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let demands = self.demands_certificates;
        f.debug_struct("ServerTls").field("demands_certificates", &demands).finish_non_exhaustive()
    }
}

// === impl Configs ===

impl Configs {
    /// Builds them from the certificate, its key and optionally the clients' authorities and names.
    fn of(files: &[Contents], client_names: &Arc<[ServerName<'static>]>) -> Result<Self, TlsError> {
        let identity = pem::identity(&files[0], &files[1])?;
        let client_ca = files.get(2);
        let with = |client_ca, protocol: &[u8]| {
            let mut config = config(client_ca, client_names, &identity)?;
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config))
        };
        Ok(Self {
            grpc: with(client_ca, b"h2")?,
            http: with(client_ca, b"http/1.1")?,
            http_for_anyone: with(None, b"http/1.1")?,
            not_after: identity.cert.first().and_then(|leaf| validity::not_after(leaf)),
        })
    }
}

fn config(
    client_ca: Option<&Contents>,
    client_names: &Arc<[ServerName<'static>]>,
    identity: &Arc<CertifiedKey>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for TLS 1.2 and 1.3");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = pem::roots(file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let authority = verifier.map_err(|error| pem::unusable(&file.path, &error))?;
            builder.with_client_cert_verifier(match client_names.is_empty() {
                true => authority,
                false => Arc::new(Named { authority, names: Arc::clone(client_names) }),
            })
        }
    };
    let resolver = SingleCertAndKey::from(CertifiedKey::clone(identity));
    Ok(builder.with_cert_resolver(Arc::new(resolver)))
}
