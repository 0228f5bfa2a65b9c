//! TLS with rustls: from PEM files to configurations that follow the files.
//!
//! ```text
//! ServerTlsFiles ─> ServerTls ── one configuration a handshake ──> transport (gRPC, HTTP, metrics)
//! ClientTlsFiles ─> ClientTls ── one configuration a handshake ──> connector
//!        ^ looked at every few seconds: a change that can be used is used by the next handshake
//! ```
//!
//! Calls in flight stay on their connection, whose certificate was checked when it was opened: replacing a
//! certificate, or its expiry, interrupts nothing. Files that cannot be used (half written, a key of another
//! certificate) change nothing: the last good ones stay in use, the log says so once, and `jury_tls_reload_failing`
//! counts them.
//!
//! Not supported: revocation lists. A client certificate is valid until it expires or its authority is replaced.

mod callers;
mod client;
mod metrics;
mod pem;
mod reload;
mod server;
mod told;
mod validity;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;

pub use client::{ClientTls, ClientTlsFiles, Identity};
pub(crate) use metrics::refused_handshake;
pub use metrics::register_tls;
pub(crate) use server::Protocol;
pub use server::{ServerTls, ServerTlsFiles};
pub(crate) use told::{by_client, by_server};

/// How often files are checked. A replaced Kubernetes secret takes a minute to arrive; a few more seconds do no harm.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Why files cannot be used for TLS. Never reveals what is in a key.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} holds no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds no private key; it must be PEM, with -----BEGIN PRIVATE KEY----- and no password", .0.display())]
    NoKey(PathBuf),
    #[error("{}: {problem}", path.display())]
    Unusable { path: PathBuf, problem: String },
    #[error("the key in {} is not the key of the certificate in {}", key.display(), certificate.display())]
    OtherKey { key: PathBuf, certificate: PathBuf },
    #[error("{0:?} is neither a host name nor an IP address")]
    ServerName(String),
    #[error(
        "this machine has no certificates of public authorities (package ca-certificates); name the CA's file"
    )]
    NoRoots,
}

/// The cryptography provider: ring, named here so that no process-wide default is needed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
