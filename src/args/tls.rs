//! Certificates: of what serves, and of what calls.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use jury_fabric::secret::SecretString;

/// How a serving part proves who it is, and whom it lets in.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct ServeTlsArgs {
    /// Serve TLS at every listener, with this certificate: PEM, the chain after it. Files may be replaced while this
    /// runs: the next connection sees the new ones. A coordinator shows it to its workers, too
    #[arg(long, env = "JURY_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a password
    #[arg(long, env = "JURY_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Let in only those who show a certificate of this authority (mutual TLS) at --listen, --http and --console-listen
    #[arg(long, env = "JURY_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Who may read the metrics, where there is a certificate
    #[arg(
        long,
        env = "JURY_TLS_METRICS",
        value_name = "WHO",
        value_enum,
        default_value_t = MetricsTlsArg::Anyone
    )]
    pub tls_metrics: MetricsTlsArg,
}

/// How the metrics are served where there is a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum MetricsTlsArg {
    /// Over TLS, to those without a certificate as well: probes and Prometheus seldom have one
    #[default]
    Anyone,
    /// Over TLS, to those with a certificate of --tls-client-ca
    Clients,
    /// Without TLS
    Plain,
}

/// Whom a part trusts that it calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TrustArgs {
    /// The authority whose certificates those called at https:// addresses must have, PEM [default: those that this
    /// machine trusts]
    #[arg(long, env = "JURY_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The name that their certificates must be for, where it is not the address's host, as for addresses of pods
    #[arg(long, env = "JURY_TLS_SERVER_NAME", value_name = "NAME")]
    pub tls_server_name: Option<String>,
}

/// How a client reaches a coordinator at an https:// address.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct ClientTlsArgs {
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The certificate to show where the coordinator wants one (mutual TLS): PEM, the chain after it
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
    /// Ask gRPC connections of about this age (a fifth more or less) to close, once their calls have ended, so that
    /// a balancer which sends a connection's calls to one server spreads them anew [default: never]
    #[arg(long, env = "JURY_CONNECTION_MAX_AGE", value_name = "TIME", value_parser = jury_terminal::number::time)]
    pub connection_max_age: Option<Duration>,
}

/// How etcd is reached.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub struct EtcdAccessArgs {
    /// The authority whose certificates etcd's members at https:// addresses must have, PEM [default: those that this
    /// machine trusts]
    #[arg(long, env = "JURY_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// The certificate to show to etcd, where it wants one: PEM, the chain after it
    #[arg(long, env = "JURY_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// The certificate's private key: PEM, without a password
    #[arg(long, env = "JURY_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// The user to be in etcd. Its role needs readwrite on the prefix /jury/v1/, a coordinator's read
    #[arg(long, env = "JURY_ETCD_USER", value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// The user's password. Everybody on a machine sees its command lines: use the variable, or a file
    #[arg(long, env = "JURY_ETCD_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub etcd_password: Option<SecretString>,
    /// A file whose one line is the user's password
    #[arg(long, env = "JURY_ETCD_PASSWORD_FILE", value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,
}
