//! TLS between a client and a server: which clients are accepted, what the others are told, and certificates that are
//! replaced.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jury_fabric::connector::Connector;
use jury_fabric::tls::{
    ClientTls, ClientTlsFiles, Identity, ServerTls, ServerTlsFiles, register_tls,
};
use jury_fabric::transport::{Channel, HealthHandle, Listener, TlsListener};
use jury_proto::{ErrorCode, JuryError};
use prometheus_client::registry::Registry;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::Status;

use super::authority::{Authority, Signed};
use super::{Server, bind_any, check, get, score};

/// How often these tests check files.
const OFTEN: Duration = Duration::from_millis(10);

/// Two authorities that do not trust each other, and their files.
struct Two {
    folder: TempDir,
    ours: Authority,
    theirs: Authority,
}

fn two() -> Two {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    Two { folder, ours, theirs }
}

fn files(server: &Signed, client_ca: Option<&Path>) -> ServerTlsFiles {
    ServerTlsFiles {
        certificate: server.certificate.clone(),
        key: server.key.clone(),
        client_ca: client_ca.map(Path::to_owned),
        client_names: Vec::new(),
    }
}

fn server_tls(server: &Signed, client_ca: Option<&Path>) -> ServerTls {
    ServerTls::open_with(&files(server, client_ca), OFTEN).unwrap()
}

async fn secure(tls: ServerTls) -> (SocketAddr, Server) {
    let (address, listener) = bind_any().await;
    let server = Server::start(Listener::Secure(vec![listener], tls));
    server.health.set_serving();
    (address, server)
}

fn trusting(ca: &Path) -> ClientTlsFiles {
    ClientTlsFiles { ca: Some(ca.to_owned()), ..ClientTlsFiles::default() }
}

fn showing(ca: &Path, shown: &Signed) -> ClientTlsFiles {
    let (certificate, key) = (shown.certificate.clone(), shown.key.clone());
    ClientTlsFiles { identity: Some(Identity { certificate, key }), ..trusting(ca) }
}

fn channel(files: &ClientTlsFiles, address: &str) -> Channel {
    let tls = ClientTls::open_with(files, OFTEN).unwrap();
    Connector::with_tls(tls).connect(address).unwrap()
}

/// What a person would read about a failed call.
fn story(status: &Status) -> String {
    let first = std::error::Error::source(status);
    let causes = std::iter::successors(first, |cause| cause.source());
    causes.fold(status.to_string(), |told, cause| format!("{told}: {cause}"))
}

async fn refusal(files: &ClientTlsFiles, address: &str) -> String {
    let status = check(&channel(files, address), "").await.unwrap_err();
    let story = story(&status);
    assert_eq!(JuryError::from(status).code, ErrorCode::Unreachable, "{story}");
    story
}

#[tokio::test]
async fn a_server_is_called_by_any_name_that_its_certificate_is_for() {
    let two = two();
    let signed = two.ours.sign("server", &["localhost", "127.0.0.1", "judge.example"]);
    let (address, server) = secure(server_tls(&signed, None)).await;
    let port = address.port();
    for host in ["localhost", "127.0.0.1"] {
        let channel = channel(&trusting(&two.ours.ca), &format!("https://{host}:{port}"));
        check(&channel, "").await.unwrap();
    }
    let named =
        ClientTlsFiles { server_name: Some("judge.example".to_owned()), ..trusting(&two.ours.ca) };
    check(&channel(&named, &format!("https://127.0.0.1:{port}")), "").await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_told_with_the_way_out() {
    let two = two();
    let here = ["127.0.0.1"];
    let good = two.ours.sign("good", &here);
    for (signed, trusted, words) in [
        (&good, &two.theirs.ca, ["not trusted here", "--tls-ca"]),
        (&two.ours.sign_until("old", &here, 2020), &two.ours.ca, ["has expired", "certificate"]),
        (
            &two.ours.sign("other", &["judge.example"]),
            &two.ours.ca,
            ["judge.example", "--tls-server-name"],
        ),
    ] {
        let (address, server) = secure(server_tls(signed, None)).await;
        let told = refusal(&trusting(trusted), &format!("https://{address}")).await;
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
        server.end().await;
    }
}

/// Trainers may have certificates of the workers' authority: they must not draw samples past the coordinator.
#[tokio::test]
async fn of_the_authoritys_clients_only_those_of_a_listed_name_are_let_in() {
    let two = two();
    let signed = two.ours.sign("server", &["127.0.0.1"]);
    let client_names = ["judge.lab", "10.0.0.7", "judge.ml.lab"].map(str::to_owned).to_vec();
    let files = ServerTlsFiles { client_names, ..files(&signed, Some(&two.ours.ca)) };
    let tls = ServerTls::open_with(&files, OFTEN).unwrap();
    let (address, server) = secure(tls).await;
    let address = format!("https://{address}");
    let ca = &two.ours.ca;
    for names in [&["x", "judge.lab"][..], &["10.0.0.7"], &["*.ml.lab"]] {
        let client = two.ours.sign("client", names);
        check(&channel(&showing(ca, &client), &address), "").await.unwrap();
    }
    for (authority, names, words) in [
        (&two.ours, &["trainer.lab", "10.0.0.8"][..], "--tls-client-name"),
        (&two.theirs, &["judge.lab"], "authority"),
    ] {
        let told = refusal(&showing(ca, &authority.sign("other", names)), &address).await;
        assert!(told.contains(words), "{told}");
    }
    let told = refusal(&trusting(ca), &address).await;
    assert!(told.contains("wants a certificate"), "{told}");
    server.end().await;
    let unusable = ServerTlsFiles { client_names: vec!["two words".to_owned()], ..files };
    assert!(ServerTls::open_with(&unusable, OFTEN).is_err());
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_named_authority_are_let_in() {
    let two = two();
    let signed = two.ours.sign("server", &["127.0.0.1"]);
    let (address, server) = secure(server_tls(&signed, Some(&two.ours.ca))).await;
    let address = format!("https://{address}");
    let ca = &two.ours.ca;
    let client = two.ours.sign("client", &["trainer"]);
    check(&channel(&showing(ca, &client), &address), "").await.unwrap();
    for (files, words) in [
        (trusting(ca), ["wants a certificate from its clients", "--tls-cert"]),
        (showing(ca, &two.theirs.sign("stranger", &["x"])), ["authority", "this client's"]),
        (showing(ca, &two.ours.sign_until("late", &["x"], 2020)), ["has expired", "this client's"]),
    ] {
        let told = refusal(&files, &address).await;
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    }
    server.end().await;
}

#[tokio::test]
async fn who_speaks_tls_to_nobody_or_none_to_a_server_of_it_is_told() {
    let two = two();
    let signed = two.ours.sign("server", &["127.0.0.1"]);
    let (address, server) = secure(server_tls(&signed, None)).await;
    let told = refusal(&trusting(&two.ours.ca), &format!("http://{address}")).await;
    assert!(told.contains("this port speaks TLS; write https://"), "{told}");
    server.end().await;

    let (address, listener) = bind_any().await;
    let server = Server::start(Listener::Tcp(listener));
    let told = refusal(&trusting(&two.ours.ca), &format!("https://{address}")).await;
    assert!(told.contains("does not speak TLS; write http://"), "{told}");
    server.end().await;
}

/// The HTTP/2 preface, and the type of the frame that follows it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;

#[tokio::test]
async fn the_first_words_are_said_once_and_not_only_to_those_who_speak_first() {
    let two = two();
    let signed = two.ours.sign("server", &["127.0.0.1"]);
    let certificates = CertificateDer::pem_file_iter(&signed.certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            certificates.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(&signed.key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for answers_the_preface in [true, false] {
        let (address, listener) = bind_any().await;
        let channel = channel(&trusting(&two.ours.ca), &format!("https://{address}"));
        let calling = tokio::spawn(async move { check(&channel, "").await });
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp).await.unwrap();
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
        if answers_the_preface {
            stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
        }
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[3], SETTINGS, "{frame:?}");
        calling.abort();
    }
}

#[tokio::test]
async fn certificates_are_replaced_without_a_dropped_call() {
    let two = two();
    let files = two.folder.path().join("in use");
    std::fs::create_dir(&files).unwrap();
    let in_use = Signed { certificate: files.join("tls.crt"), key: files.join("tls.key") };
    let put = |signed: &Signed| {
        std::fs::copy(&signed.certificate, &in_use.certificate).unwrap();
        std::fs::copy(&signed.key, &in_use.key).unwrap();
    };
    put(&two.ours.sign_until("first", &["127.0.0.1"], 2049));
    let served = server_tls(&in_use, None);
    let expiry = || {
        let mut registry = Registry::default();
        register_tls(&mut registry, Some(served.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let name = "\njury_tls_certificate_expiry_timestamp_seconds ";
        text.split_once(name).unwrap().1.lines().next().unwrap().to_owned()
    };
    assert_eq!(expiry(), "2493072000", "1 January 2049");
    let (address, mut server) = secure(served.clone()).await;
    let address = format!("https://{address}");
    let before = channel(&trusting(&two.ours.ca), &address);
    let running = score(&before, "begun before");
    server.probe.arrivals.recv().await.unwrap();

    std::fs::write(&in_use.certificate, "half a cert").unwrap();
    tokio::time::sleep(5 * OFTEN).await;
    check(&channel(&trusting(&two.ours.ca), &address), "").await.unwrap();
    assert_eq!(expiry(), "2493072000", "of what is served, not of what cannot be");

    // From 2050 on, certificates use another time format.
    put(&two.theirs.sign_until("second", &["127.0.0.1"], 2051));
    while check(&channel(&trusting(&two.theirs.ca), &address), "").await.is_err() {
        tokio::time::sleep(OFTEN).await;
    }
    assert_eq!(expiry(), "2556144000", "1 January 2051");
    let told = refusal(&trusting(&two.ours.ca), &address).await;
    assert!(told.contains("not trusted"), "{told}");
    server.probe.answers.add_permits(1);
    assert_eq!(running.await.unwrap().unwrap(), "begun before");
    server.end().await;
}

#[tokio::test]
async fn metrics_are_served_over_tls_to_those_without_a_certificate_where_that_is_said() {
    let two = two();
    let signed = two.ours.sign("server", &["127.0.0.1"]);
    let demanding = server_tls(&signed, Some(&two.ours.ca));
    for (tls, lets_in) in [(demanding.for_anyone(), true), (demanding, false)] {
        let (address, listener) = bind_any().await;
        let health = HealthHandle::new(&[]);
        health.set_serving();
        let serving = tokio::spawn(jury_fabric::telemetry::serve_metrics(
            TlsListener::http(listener, tls).unwrap(),
            Arc::default(),
            health,
            tokio_util::sync::CancellationToken::new(),
        ));
        let answered = get_over_tls(&two.ours.ca, address, "/healthz").await;
        match (lets_in, answered) {
            (true, Ok(answer)) => assert!(answer.starts_with("HTTP/1.1 200"), "{answer}"),
            (false, Err(error)) => assert!(error.to_string().contains("Certificate"), "{error}"),
            (_, other) => panic!("{other:?}"),
        }
        let plain = get(address, "/healthz").await;
        assert!(plain.starts_with("HTTP/1.1 400") && plain.contains("https://"), "{plain}");
        serving.abort();
    }
}

async fn get_over_tls(ca: &Path, address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let tcp = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: jury\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
