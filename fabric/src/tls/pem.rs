//! From the bytes of PEM files to the types of rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{TlsError, provider};

/// A file as read.
pub(super) struct Contents {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

/// Every certificate of a file, at least one.
pub(super) fn certificates(file: &Contents) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    let certificates = certificates.map_err(|error| unusable(&file.path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(file.path.clone()));
    }
    Ok(certificates)
}

/// The authorities of a file.
pub(super) fn roots(file: &Contents) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(&file.path, &error))?;
    }
    Ok(Arc::new(roots))
}

/// A certificate with its chain, and its key.
pub(super) fn identity(chain: &Contents, key: &Contents) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificates = certificates(chain)?;
    let private = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsError::NoKey(key.path.clone()),
        error => unusable(&key.path, &error),
    })?;
    match CertifiedKey::from_der(certificates, private, &provider()) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::OtherKey { key: key.path.clone(), certificate: chain.path.clone() })
        }
        Err(error @ rustls::Error::InvalidCertificate(_)) => Err(unusable(&chain.path, &error)),
        Err(error) => Err(unusable(&key.path, &error)),
    }
}

pub(super) fn unusable(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), problem: problem.to_string() }
}
