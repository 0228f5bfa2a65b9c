//! Workers found through Kubernetes itself.

use std::path::PathBuf;

use clap::ValueEnum;
use jury_fabric::directory::ServiceName;

/// Which service the workers are behind.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub struct KubernetesArgs {
    /// Which one to use if environment variables set several of --kubernetes-service, --worker and --etcd [default: the
    /// first of them that is set, in this order]
    #[arg(long, env = "JURY_DIRECTORY", value_name = "WHERE", value_enum)]
    pub directory: Option<DirectoryArg>,
    /// Discover workers as the ready pods of this headless service, through the API server; needs the permissions get,
    /// list and watch on endpointslices [default namespace: the coordinator's own]
    #[arg(long, env = "JURY_KUBERNETES_SERVICE", value_name = "NAME[.NAMESPACE]")]
    pub kubernetes_service: Option<ServiceName>,
    /// Name of the service's gRPC port; ignored if the service has only one port. TLS is used if the port's appProtocol
    /// is https, or if it is unset and --tls-ca or --tls-cert is given
    #[arg(long, env = "JURY_KUBERNETES_PORT", value_name = "NAME", default_value = "grpc")]
    pub kubernetes_port: String,
    /// Kubeconfig for reaching the API server from outside the cluster [default: the pod's service account; outside a
    /// pod, KUBECONFIG or ~/.kube/config]
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
    /// The option that it needs.
    pub fn option(self) -> &'static str {
        match self {
            Self::Kubernetes => "--kubernetes-service",
            Self::Fixed => "--worker",
            Self::Etcd => "--etcd",
        }
    }
}
