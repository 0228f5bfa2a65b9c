//! Explains a failed handshake and how to fix it. rustls reports what it saw; people want to know what to do.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// An error of a connection to a server, as its client sees it.
pub(crate) fn by_server(error: io::Error) -> io::Error {
    told(error, |rustls| match rustls {
        Error::InvalidMessage(_) => {
            "the server does not speak TLS; write http:// for it".to_owned()
        }
        Error::InvalidCertificate(problem) => of_servers_certificate(problem),
        Error::AlertReceived(alert) => of_alert_to_client(*alert),
        other => format!("TLS: {other}"),
    })
}

/// An error of a connection from a client, as its server sees it; for the log.
pub(crate) fn by_client(error: io::Error) -> io::Error {
    told(error, |rustls| match rustls {
        Error::NoCertificatesPresented => "the client showed no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "the client's certificate is for none of the names that are let in (--tls-client-name)"
                .to_owned()
        }
        Error::InvalidCertificate(problem) => format!("the client's certificate: {problem}"),
        Error::AlertReceived(alert) => format!("the client refused the certificate: {alert:?}"),
        other => format!("TLS: {other}"),
    })
}

// === private ===

fn told(error: io::Error, say: impl Fn(&Error) -> String) -> io::Error {
    let kind = error.kind();
    if let Some(rustls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return io::Error::new(kind, say(rustls));
    }
    if kind == io::ErrorKind::UnexpectedEof {
        return io::Error::new(kind, "the connection was closed during the TLS handshake");
    }
    error
}

fn of_servers_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "the server's certificate is of an authority that is not trusted here; \
             name the CA's file (--tls-ca)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({problem})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({problem}); compare the clocks")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the server's certificate is for another name ({problem}); call it by that, or say which name to \
             expect (--tls-server-name)"
            )
        }
        other => format!("the server's certificate cannot be trusted: {other}"),
    }
}

fn of_alert_to_client(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired => {
            "the server wants a certificate from its clients; name yours (--tls-cert, --tls-key)"
                .to_owned()
        }
        A::UnknownCA => {
            "the server does not trust the authority of this client's certificate".to_owned()
        }
        A::CertificateExpired => {
            "the server says that this client's certificate has expired".to_owned()
        }
        A::AccessDenied => {
            "the server lets in clients of other names than this client's certificate has (its --tls-client-name)"
                .to_owned()
        }
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateUnknown
        | A::CertificateRevoked
        | A::DecryptError => format!("the server refuses this client's certificate ({alert:?})"),
        A::NoApplicationProtocol => {
            "the server speaks TLS, but no gRPC at this port; is it that of --http or of the \
             metrics?"
                .to_owned()
        }
        other => format!("the server ended the TLS handshake ({other:?})"),
    }
}
