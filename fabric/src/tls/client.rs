//! The client's side: which authorities it trusts, which name it expects, and which certificate it presents.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pem::{self, Contents};
use super::reload::Reloading;
use super::{RELOAD_EVERY, TlsError, by_server, provider};

/// A client's certificate files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// Authorities that servers' certificates must come from, PEM. `None`: those that this machine trusts.
    pub ca: Option<PathBuf>,
    /// The certificate to present to servers that ask for one.
    pub identity: Option<Identity>,
    /// The name expected in servers' certificates, if it is not the address's host.
    pub server_name: Option<String>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate followed by its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, without a password.
    pub key: PathBuf,
}

/// A client's TLS configuration, kept up to date with its files. Clones share it.
#[derive(Clone)]
pub struct ClientTls {
    config: Reloading<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files, and checks every few seconds whether they changed. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn open(files: &ClientTlsFiles) -> Result<Self, TlsError> {
        Self::open_with(files, RELOAD_EVERY)
    }

    /// Same, with the given interval between checks.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn open_with(files: &ClientTlsFiles, every: Duration) -> Result<Self, TlsError> {
        let server_name = files.server_name.clone().map(server_name).transpose()?;
        let identity = files.identity.iter().flat_map(|of| [&of.certificate, &of.key]);
        let paths = files.ca.iter().chain(identity).cloned().collect();
        // Read once: a change of the machine's authorities takes effect after a restart.
        let system = if files.ca.is_none() { Some(system_roots()?) } else { None };
        let config = Reloading::open(paths, every, move |files: &[Contents]| {
            let (roots, identity) = match &system {
                Some(roots) => (Arc::clone(roots), files),
                None => (pem::roots(&files[0])?, &files[1..]),
            };
            let identity = match identity {
                [certificate, key] => Some(pem::identity(certificate, key)?),
                _ => None,
            };
            Ok(client_config(roots, identity))
        })?;
        Ok(Self { config, server_name })
    }

    /// The configuration for the files' current contents, for a client that opens its own connections. The same
    /// contents give the same `Arc`. Names no server: [`ClientTlsFiles::server_name`] applies to our own connections.
    pub fn current(&self) -> Arc<ClientConfig> {
        self.config.current()
    }

    /// Performs the TLS handshake over a connection to `host`, a name or an IP address.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host.to_owned()).map_err(io::Error::other)?,
        };
        let connector = TlsConnector::from(self.config.current());
        connector.connect(name, tcp).await.map_err(by_server)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.server_name;
        f.debug_struct("ClientTls").field("server_name", name).finish_non_exhaustive()
    }
}

// === private ===

fn client_config(roots: Arc<RootCertStore>, identity: Option<Arc<CertifiedKey>>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let shown = SingleCertAndKey::from(CertifiedKey::clone(&identity));
            let shown: Arc<dyn ResolvesClientCert> = Arc::new(shown);
            builder.with_client_cert_resolver(shown)
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

pub(super) fn server_name(name: String) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name))
}

fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 { Err(TlsError::NoRoots) } else { Ok(Arc::new(roots)) }
}
