//! Certificates: from options to servers and connectors. The rules about these options are defined only here.

use std::path::PathBuf;

use anyhow::Context;
use jury_fabric::connector::Connector;
use jury_fabric::secret::without_user;
use jury_fabric::tls::{ClientTls, ClientTlsFiles, Identity, ServerTls, ServerTlsFiles, TlsError};
use jury_terminal::exit::{Exit, Failed, OrExit};

use crate::args::{
    BackendArg, ClientTlsArgs, EtcdArgs, MetricsTlsArg, Refused, ServeTlsArgs, TrustArgs,
    UpstreamArgs,
};

/// TLS of a server's listeners.
#[derive(Debug, Clone)]
pub struct Listening {
    /// gRPC and HTTP; `None`: without TLS.
    pub main: Option<ServerTls>,
    pub metrics: Option<ServerTls>,
}

// === impl Listening ===

impl Listening {
    /// Reads the files. Must be called inside the runtime.
    pub fn open(args: &ServeTlsArgs) -> Result<Self, Failed> {
        let files = server_files(args).or_exit(Exit::Usage)?;
        let Some(files) = files else { return Ok(Self { main: None, metrics: None }) };
        let main = ServerTls::open(&files).map_err(|error| match error {
            TlsError::ServerName(_) => {
                Failed::new(Exit::Usage, anyhow::Error::new(error).context("--tls-client-name"))
            }
            error => Failed::new(Exit::NoInput, anyhow::Error::new(error).context("--tls-cert")),
        })?;
        let metrics = match args.tls_metrics {
            MetricsTlsArg::Plain => None,
            MetricsTlsArg::Anyone => Some(main.for_anyone()),
            MetricsTlsArg::Clients => Some(main.clone()),
        };
        Ok(Self { main: Some(main), metrics })
    }

    /// Scheme of the addresses of gRPC and HTTP.
    pub fn scheme(&self) -> &'static str {
        if self.main.is_some() { "https" } else { "http" }
    }
}

/// The connector for calls to the coordinator at `endpoint`. Must be called inside the runtime.
pub fn connector_to(endpoint: &str, args: &ClientTlsArgs) -> Result<Connector, Failed> {
    let files = client_files(args).or_exit(Exit::Usage)?;
    if files == ClientTlsFiles::default() {
        return Ok(Connector::new());
    }
    if !endpoint.trim().starts_with("https://") {
        let endpoint = without_user(endpoint);
        let problem = format!("certificates need an https:// address, is {endpoint}");
        return Err(Refused::new("--endpoint", problem)).or_exit(Exit::Usage);
    }
    open(&files)
}

/// The connector for calls to workers. Must be called inside the runtime.
pub fn connector_to_workers(serve: &ServeTlsArgs, trust: &TrustArgs) -> Result<Connector, Failed> {
    let served = server_files(serve).or_exit(Exit::Usage)?;
    let identity = served.map(|of| Identity { certificate: of.certificate, key: of.key });
    let files = ClientTlsFiles { identity, ..trusted(trust) };
    if files == ClientTlsFiles::default() { Ok(Connector::new()) } else { open(&files) }
}

/// TLS for calls to etcd; `None`: with the system's trusted CAs. Must be called inside the runtime.
pub fn etcd_tls(args: &EtcdArgs) -> Result<Option<ClientTls>, Failed> {
    let access = &args.access;
    let identity = identity("--etcd", &access.etcd_cert, &access.etcd_key).or_exit(Exit::Usage)?;
    let files = ClientTlsFiles { ca: access.etcd_ca.clone(), identity, server_name: None };
    open_for("--etcd", "--etcd", args.etcd.iter().map(String::as_str), &files)
}

/// TLS for calls to an upstream; `None`: with the system's trusted CAs. Must be called inside the runtime.
pub fn upstream_tls(args: &UpstreamArgs) -> Result<Option<ClientTls>, Failed> {
    if args.backend == BackendArg::Engine {
        return Ok(None);
    }
    let identity = identity("--upstream", &args.upstream_cert, &args.upstream_key);
    let identity = identity.or_exit(Exit::Usage)?;
    let files = ClientTlsFiles { ca: args.upstream_ca.clone(), identity, server_name: None };
    open_for("--url", "--upstream", args.url.as_deref().into_iter(), &files)
}

// === private ===

/// TLS for calls to `addresses`, given by `option`; the files are those of `options` ("--etcd": --etcd-ca, --etcd-cert,
/// ..).
fn open_for<'a>(
    option: &'static str,
    options: &str,
    mut addresses: impl Iterator<Item = &'a str>,
    files: &ClientTlsFiles,
) -> Result<Option<ClientTls>, Failed> {
    if *files == ClientTlsFiles::default() {
        return Ok(None);
    }
    if let Some(plain) = addresses.find(|address| !address.trim().starts_with("https://")) {
        let plain = without_user(plain);
        let problem = format!("certificates need an https:// address, is {plain}");
        return Err(Refused::new(option, problem)).or_exit(Exit::Usage);
    }
    let file = if files.ca.is_some() { "ca" } else { "cert" };
    let opened = ClientTls::open(files).with_context(|| format!("{options}-{file}"));
    Ok(Some(opened.or_exit(Exit::NoInput)?))
}

fn open(files: &ClientTlsFiles) -> Result<Connector, Failed> {
    let option = if files.ca.is_some() { "--tls-ca" } else { "--tls-cert" };
    let tls = ClientTls::open(files).context(option).or_exit(Exit::NoInput)?;
    Ok(Connector::with_tls(tls))
}

fn server_files(args: &ServeTlsArgs) -> Result<Option<ServerTlsFiles>, Refused> {
    let client_ca = args.tls_client_ca.clone();
    let client_names = args.tls_client_name.clone();
    if !client_names.is_empty() && client_ca.is_none() {
        let problem = "names clients of --tls-client-ca; give that too";
        return Err(Refused::new("--tls-client-name", problem));
    }
    let Some(Identity { certificate, key }) = identity("--tls", &args.tls_cert, &args.tls_key)?
    else {
        return match client_ca {
            None => Ok(None),
            Some(_) => Err(Refused::new(
                "--tls-client-ca",
                "needs TLS: set --tls-cert and --tls-key as well",
            )),
        };
    };
    if args.tls_metrics == MetricsTlsArg::Clients && client_ca.is_none() {
        let problem = "\"clients\" needs --tls-client-ca, which defines the clients";
        return Err(Refused::new("--tls-metrics", problem));
    }
    Ok(Some(ServerTlsFiles { certificate, key, client_ca, client_names }))
}

fn client_files(args: &ClientTlsArgs) -> Result<ClientTlsFiles, Refused> {
    let identity = identity("--tls", &args.tls_cert, &args.tls_key)?;
    Ok(ClientTlsFiles { identity, ..trusted(&args.trust) })
}

fn trusted(args: &TrustArgs) -> ClientTlsFiles {
    let server_name = args.tls_server_name.clone();
    ClientTlsFiles { ca: args.tls_ca.clone(), identity: None, server_name }
}

/// The certificate and the key given by `options` ("--tls", "--etcd").
fn identity(
    options: &str,
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
) -> Result<Option<Identity>, Refused> {
    match (certificate.clone(), key.clone()) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate, key })),
        (Some(_), None) => Err(Refused::new(
            format!("{options}-key"),
            "is missing: a certificate needs its private key",
        )),
        (None, Some(_)) => Err(Refused::new(
            format!("{options}-cert"),
            "is missing: a private key needs its certificate",
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn serve(certificate: bool, key: bool, client_ca: bool) -> ServeTlsArgs {
        let path = |given: bool, name: &str| given.then(|| PathBuf::from(name));
        ServeTlsArgs {
            tls_cert: path(certificate, "c"),
            tls_key: path(key, "k"),
            tls_client_ca: path(client_ca, "ca"),
            ..ServeTlsArgs::default()
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        for (args, flag) in [
            (serve(true, false, false), "--tls-key"),
            (serve(false, true, false), "--tls-cert"),
            (serve(false, false, true), "--tls-client-ca"),
            (
                ServeTlsArgs { tls_client_name: vec!["a".to_owned()], ..serve(true, true, false) },
                "--tls-client-name",
            ),
            (
                ServeTlsArgs { tls_metrics: MetricsTlsArg::Clients, ..serve(true, true, false) },
                "--tls-metrics",
            ),
        ] {
            assert_eq!(server_files(&args).unwrap_err().flag, flag);
        }
        assert_eq!(server_files(&serve(false, false, false)), Ok(None));
        assert!(server_files(&serve(true, true, true)).unwrap().is_some());
    }

    #[test]
    fn an_upstreams_certificates_belong_to_an_address_with_tls_and_a_certificate_to_its_key() {
        let upstream = |options: &[&str]| {
            let worker = ["jury", "worker", "--backend", "openai"];
            let words = worker.into_iter().chain(options.iter().copied());
            let Command::Worker(args) = Args::try_parse_from(words).unwrap().command else {
                panic!()
            };
            upstream_tls(&args.upstream)
        };
        for (options, named) in [
            (&["--url", "http://judge:8000", "--upstream-ca", "ca"][..], "--url"),
            (&["--url", "https://judge:8000", "--upstream-cert", "c"], "--upstream-key"),
            (&["--url", "https://judge:8000", "--upstream-key", "k"], "--upstream-cert"),
        ] {
            let failed = upstream(options).unwrap_err();
            assert_eq!(failed.exit, Exit::Usage);
            assert!(failed.message().starts_with(named), "{}", failed.message());
        }
        assert!(upstream(&["--url", "https://judge:8000"]).unwrap().is_none());
        let failed = upstream(&["--url", "http://a:SEKRET@h", "--upstream-ca", "ca"]).unwrap_err();
        assert!(!failed.message().contains("SEKRET"), "{}", failed.message());
    }

    #[test]
    fn certificates_for_an_endpoint_without_tls_are_a_mistake() {
        let args = ClientTlsArgs {
            trust: TrustArgs { tls_ca: Some(PathBuf::from("ca")), ..TrustArgs::default() },
            ..ClientTlsArgs::default()
        };
        let failed = connector_to("http://judge:7480", &args).unwrap_err();
        assert_eq!(failed.exit, Exit::Usage);
        assert!(connector_to("http://judge:7480", &ClientTlsArgs::default()).is_ok());
    }
}
