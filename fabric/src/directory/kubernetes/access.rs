//! Access to the API server: as a pod of the cluster, or with a kubeconfig from outside.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};

/// A server that does not accept within this time counts as absent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the API server cannot be reached.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum KubernetesError {
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    #[error(
        "this is no pod with a service account ({pod}), and there is no kubeconfig to use instead ({person}); name one \
         with --kubeconfig"
    )]
    Nowhere { pod: InClusterError, person: KubeconfigError },
    #[error("the API server cannot be called: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// The slices of a namespace. Without one, the current namespace: the pod's, or the kubeconfig's.
pub(super) async fn slices(
    kubeconfig: Option<&Path>,
    namespace: Option<&str>,
) -> Result<Api<EndpointSlice>, KubernetesError> {
    let mut config = config(kubeconfig).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // The follower of a watch spaces its own attempts.
    config.default_retry = false;
    let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
    let client =
        Client::try_from(config).map_err(|error| KubernetesError::Client(Box::new(error)))?;
    Ok(Api::namespaced(client, &namespace))
}

// === private ===

async fn config(kubeconfig: Option<&Path>) -> Result<Config, KubernetesError> {
    let options = KubeConfigOptions::default();
    if let Some(path) = kubeconfig {
        let kubeconfig = Kubeconfig::read_from(path)?;
        return Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?);
    }
    let pod = match Config::incluster() {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Ok(config),
        Err(person) => Err(KubernetesError::Nowhere { pod, person }),
    }
}
