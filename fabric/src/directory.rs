//! Which workers exist: a stream of updates, whatever its source.
//!
//! ```text
//! worker ── Etcd::register ──> etcd ────── Etcd::watch ──┐
//! pod ── its service ──> API server ── Kubernetes::watch ┤
//! --worker http://... ─────────────────── Fixed::watch ──┼──> Reset, Added, Removed ──> coordinator
//! the same process ──────────────────── InProcess::watch ┘
//! ```
//!
//! A directory reports which workers are registered, not which ones respond. Dialling is the job of the
//! [`Connector`](crate::connector::Connector), and finding out whether a worker can be reached is up to the caller.

mod differences;
mod etcd;
mod fixed;
mod in_process;
mod kubernetes;
mod link;

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use etcd::{Etcd, EtcdConfig, EtcdConfigError, EtcdUser, RegistrationHandle};
pub use fixed::Fixed;
pub use in_process::InProcess;
pub use kubernetes::{Kubernetes, KubernetesConfig, KubernetesError, NotAService, ServiceName};

/// A worker, as it describes itself. Its JSON is the value in etcd.
///
/// If only the address is known (a fixed list), the other texts are empty, and the worker itself answers `GetInfo`.
/// Readers ignore unknown fields and read a missing one as empty, because workers and coordinators of neighbouring
/// versions share one etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Unique in the cluster.
    pub worker_id: String,
    /// Where it listens, as accepted by [`Connector::connect`](crate::connector::Connector::connect).
    pub address: String,
    /// Name of its model.
    #[serde(default)]
    pub model: String,
    /// SHA-256 of the model's file, hex.
    #[serde(default)]
    pub model_digest: String,
    /// Numerics class; equal classes give equal bits.
    #[serde(default)]
    pub numerics: String,
    /// Version of parser and guide.
    #[serde(default)]
    pub method_version: String,
    /// What it is used for.
    #[serde(default)]
    pub roles: Vec<WorkerRole>,
    /// Number of samples that it can draw at once; 0 means unknown.
    #[serde(default)]
    pub capacity: u32,
    /// The version of Jury that it runs.
    #[serde(default)]
    pub version: String,
    /// Distinguishes a worker from an earlier one with the same id and address: the uid of its pod. Empty if ids are
    /// never reused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub incarnation: String,
}

/// What a worker is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerRole {
    /// Draws samples.
    Grm,
    /// Ranks trajectories.
    Meta,
    /// A role of a later version; to be ignored.
    #[serde(other)]
    Unknown,
}

/// A change of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// These are all the workers; forget any other.
    Reset(Vec<Registration>),
    /// A new worker, or changed facts about a known id.
    Added(Registration),
    /// The worker of this id is gone.
    Removed(String),
}

/// A source of workers.
pub trait Directory: Send + Sync {
    /// `"fixed"`, `"in-process"`, `"etcd"` or `"kubernetes"`, for display.
    fn kind(&self) -> &'static str;

    /// False while updates cannot arrive, so that the fleet reported so far may be out of date.
    fn is_connected(&self) -> bool;

    /// The fleet from now on: first an [`Update::Reset`] (as soon as the directory is reached), then its changes. The
    /// stream does not end while the directory lives; an error shows only as silence and a later Reset. Must be
    /// called inside a tokio runtime.
    fn watch(&self) -> BoxStream<'static, Update>;
}

// === impl Registration ===

impl Registration {
    /// A worker of which only the address is known. The address becomes its id.
    pub fn at(address: impl Into<String>) -> Self {
        let address = address.into();
        Self {
            worker_id: address.clone(),
            address,
            model: String::new(),
            model_digest: String::new(),
            numerics: String::new(),
            method_version: String::new(),
            roles: Vec::new(),
            capacity: 0,
            version: String::new(),
            incarnation: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_survives_the_round_trip() {
        let mut sent = Registration::at("http://10.0.0.7:7711");
        sent.worker_id = "worker-7".to_owned();
        sent.roles = vec![WorkerRole::Grm, WorkerRole::Meta];
        sent.capacity = 32;
        let json = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Registration>(&json).unwrap(), sent);
    }

    #[test]
    fn a_worker_of_a_later_version_can_still_be_read() {
        let json = r#"{"worker_id": "w", "address": "a:1", "roles": ["grm", "poet"], "mood": 1}"#;
        let read: Registration = serde_json::from_str(json).unwrap();
        assert_eq!(read.roles, [WorkerRole::Grm, WorkerRole::Unknown]);
        assert_eq!(read.capacity, 0);
    }
}
