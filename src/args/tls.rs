//! Certificates of servers and of clients.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use jury_fabric::secret::SecretString;

/// How a server proves its identity, and which clients it accepts.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct ServeTlsArgs {
    /// Serve TLS at every listener with this certificate: PEM, followed by its chain. Replaced files take effect on the
    /// next connection. A coordinator also presents it to its workers
    #[arg(long, env = "JURY_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a password
    #[arg(long, env = "JURY_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Mutual TLS: accept only clients with a certificate signed by this CA (PEM) at --listen, --http and
    /// --console-listen
    #[arg(long, env = "JURY_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Of the clients with such a certificate, accept only those whose certificate is for one of these names,
    /// comma-separated: a worker should list its coordinators, since trainers may have certificates of the same CA
    #[arg(long, env = "JURY_TLS_CLIENT_NAME", value_name = "NAME,..", value_delimiter = ',')]
    pub tls_client_name: Vec<String>,
    /// Who may read the metrics if --tls-cert is given
    #[arg(
        long,
        env = "JURY_TLS_METRICS",
        value_name = "WHO",
        value_enum,
        default_value_t = MetricsTlsArg::Anyone
    )]
    pub tls_metrics: MetricsTlsArg,
}

/// How the metrics are served if there is a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum MetricsTlsArg {
    /// Over TLS, also without a client certificate, which probes and Prometheus seldom have
    #[default]
    Anyone,
    /// Over TLS, only with a client certificate signed by --tls-client-ca
    Clients,
    /// Without TLS
    Plain,
}

/// Which servers a caller trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TrustArgs {
    /// CA certificate (PEM) that https:// servers must be signed by [default: the system's trusted CAs]
    #[arg(long, env = "JURY_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Host name expected in the server's certificate, if it differs from the address (for example, when calling pods
    /// by IP)
    #[arg(long, env = "JURY_TLS_SERVER_NAME", value_name = "NAME")]
    pub tls_server_name: Option<String>,
}

/// How a client reaches a coordinator at an https:// address.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct ClientTlsArgs {
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Client certificate, for a coordinator that requires one (mutual TLS): PEM, followed by its chain
    #[arg(long, env = "JURY_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a password
    #[arg(long, env = "JURY_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// How long connections live.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct ConnectionArgs {
    /// Close gRPC connections of about this age (plus or minus a fifth) once their calls have ended, so that a load
    /// balancer that balances connections, not calls, can redistribute them [default: never]
    #[arg(long, env = "JURY_CONNECTION_MAX_AGE", value_name = "TIME", value_parser = jury_terminal::number::time)]
    pub connection_max_age: Option<Duration>,
}

/// How etcd is reached.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub struct EtcdAccessArgs {
    /// CA certificate (PEM) that etcd's https:// members must be signed by [default: the system's trusted CAs]
    #[arg(long, env = "JURY_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// Client certificate, if etcd requires one: PEM, followed by its chain
    #[arg(long, env = "JURY_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a password
    #[arg(long, env = "JURY_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// etcd user. Its role needs readwrite on the prefix /jury/v1/ for workers, read for coordinators
    #[arg(long, env = "JURY_ETCD_USER", value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// Password of --etcd-user. Other users of the machine can see command lines: prefer the environment variable or
    /// --etcd-password-file
    #[arg(long, env = "JURY_ETCD_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub etcd_password: Option<SecretString>,
    /// File with the password of --etcd-user as its only line
    #[arg(long, env = "JURY_ETCD_PASSWORD_FILE", value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,
}
