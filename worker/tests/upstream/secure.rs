//! Upstreams behind TLS, with certificates of an authority that no machine trusts by default.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jury_fabric::tls::{ClientTls, ClientTlsFiles, Identity};
use jury_grm::domain::Readout;
use jury_worker::backend::openai::{OpenAiBackend, OpenAiConfig};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::authority::{Authority, Signed};
use crate::server::{Reply, Server};
use crate::{BOX, config, draw, group, llama_cpp, samples};

/// A short interval, so that no test waits long.
const LOOKED_AT: Duration = Duration::from_millis(20);

fn certificate(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).expect("a certificate of this test")
}

/// Serves llama-server's recorded answers over TLS; if `clients` is given, only to clients with a certificate from it.
async fn server(shown: &Signed, clients: Option<&Authority>) -> Server {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(&clients.ca)).expect("an authority of this test");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().expect("there is an authority"))
        }
    };
    let key = PrivateKeyDer::from_pem_file(&shown.key).expect("a key of this test");
    let tls = builder.with_single_cert(vec![certificate(&shown.certificate)], key);
    let tls = TlsAcceptor::from(Arc::new(tls.expect("the key is the certificate's")));
    Server::start_with_tls(tls, |asked| llama_cpp(asked, || Reply::bytes(BOX))).await
}

fn tls(ca: &Path, shown: Option<&Signed>) -> ClientTls {
    let identity =
        shown.map(|of| Identity { certificate: of.certificate.clone(), key: of.key.clone() });
    let files = ClientTlsFiles { ca: Some(ca.to_owned()), identity, server_name: None };
    ClientTls::open_with(&files, LOOKED_AT).expect("files of this test")
}

async fn connect(server: &Server, tls: Option<ClientTls>) -> OpenAiBackend {
    let config = OpenAiConfig { tls, ..config(&server.url) };
    OpenAiBackend::connect(config).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn draws(backend: &OpenAiBackend) {
    let events = draw(backend, group(1, Readout::Free)).await;
    let drawn = samples(&events);
    assert!(drawn.len() == 1 && drawn[0].failure().is_none(), "{events:?}");
}

/// A folder with an authority in it.
fn lab() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "lab");
    (folder, authority)
}

#[tokio::test]
async fn an_upstream_with_a_certificate_of_a_private_authority_draws() {
    let (_folder, lab) = lab();
    let server = server(&lab.sign("judge", &["127.0.0.1"]), None).await;
    let backend = connect(&server, Some(tls(&lab.ca, None))).await;
    draws(&backend).await;
}

#[tokio::test]
async fn an_upstream_that_wants_a_certificate_is_shown_one() {
    let (_folder, lab) = lab();
    let server = server(&lab.sign("judge", &["127.0.0.1"]), Some(&lab)).await;
    let of_worker = lab.sign("worker", &["worker"]);
    let backend = connect(&server, Some(tls(&lab.ca, Some(&of_worker)))).await;
    draws(&backend).await;
}

#[tokio::test]
async fn nothing_is_asked_of_an_upstream_that_is_not_trusted_or_does_not_trust() {
    let (folder, lab) = lab();
    let elsewhere = Authority::new(folder.path(), "elsewhere");
    let open = server(&lab.sign("judge", &["127.0.0.1"]), None).await;
    let other_name = server(&lab.sign("other", &["other.lab"]), None).await;
    let mutual = server(&lab.sign("mutual", &["127.0.0.1"]), Some(&lab)).await;
    let stranger = elsewhere.sign("stranger", &["worker"]);
    for (server, tls) in [
        (&open, None),
        (&open, Some(tls(&elsewhere.ca, None))),
        (&other_name, Some(tls(&lab.ca, None))),
        (&mutual, Some(tls(&lab.ca, None))),
        (&mutual, Some(tls(&lab.ca, Some(&stranger)))),
    ] {
        // It retries, as with any server that cannot be reached yet.
        tokio::select! {
            _ = connect(server, tls) => panic!("it was trusted"),
            () = server.wait_for_refused(2) => {}
        }
        assert!(server.asked().is_empty());
    }
}

#[tokio::test]
async fn an_authority_that_is_replaced_is_trusted_without_a_restart() {
    let (folder, lab) = lab();
    let next = Authority::new(folder.path(), "next");
    let server = server(&next.sign("judge", &["127.0.0.1"]), None).await;
    let trusted = folder.path().join("trusted.pem");
    std::fs::copy(&lab.ca, &trusted).expect("a file of this test");
    let connecting = connect(&server, Some(tls(&trusted, None)));
    tokio::pin!(connecting);
    tokio::select! {
        _ = &mut connecting => panic!("it was trusted"),
        () = server.wait_for_refused(1) => {}
    }
    std::fs::copy(&next.ca, &trusted).expect("a file of this test");
    let backend = connecting.await;
    draws(&backend).await;
}
