//! Workers found through Kubernetes itself.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_fabric::directory::ServiceName;

/// Which service the workers are behind.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub struct KubernetesArgs {
    /// Where workers are found, if several of --kubernetes-service, --worker and --etcd are set by variables [default: the
    /// first of them that is]
    #[arg(long, env = "JURY_DIRECTORY", value_name = "WHERE", value_enum)]
    pub directory: Option<DirectoryArg>,
    /// Find workers as the ready pods of this headless service, through the API server; needs get, list and watch of
    /// endpointslices [default namespace: our own]
    #[arg(long, env = "JURY_KUBERNETES_SERVICE", value_name = "NAME[.NAMESPACE]")]
    pub kubernetes_service: Option<ServiceName>,
    /// Name of the service's port for gRPC; one with a single port needs none of that name. Over TLS where its
    /// appProtocol is https, or says nothing and there is a --tls-ca or a --tls-cert
    #[arg(long, env = "JURY_KUBERNETES_PORT", value_name = "NAME", default_value = "grpc")]
    pub kubernetes_port: String,
    /// How the API server is reached from outside of the cluster [default: as a pod, else by KUBECONFIG or ~/.kube/config]
    #[arg(long, env = "JURY_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Where workers are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DirectoryArg {
    /// --kubernetes-service
    Kubernetes,
    /// --worker
    Fixed,
    /// --etcd
    Etcd,
}

impl DirectoryArg {
    /// The option without which it finds nobody.
    pub fn option(self) -> &'static str {
        match self {
            Self::Kubernetes => "--kubernetes-service",
            Self::Fixed => "--worker",
            Self::Etcd => "--etcd",
        }
    }
}
