//! The fleet, as its coordinator sees it.

use jury_proto::v1;
use serde::{Deserialize, Serialize};

/// The fleet and the load of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FleetStatus {
    /// Version of Jury.
    pub version: String,
    /// Requests being judged.
    pub requests_running: u32,
    /// Requests waiting for admission.
    pub requests_queued: u32,
    /// Most requests that may wait.
    pub queue_limit: u32,
    /// Where workers come from: "in-process", "fixed" or "etcd".
    pub directory: String,
    /// False while the directory cannot be reached and the last known fleet is used.
    pub directory_connected: bool,
    /// Every worker that the coordinator knows, by id.
    pub workers: Vec<WorkerStatus>,
}

/// One worker. What is not yet known is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The worker's id.
    pub worker_id: String,
    /// Where it is reached.
    pub address: String,
    /// Name of its model.
    pub model: String,
    /// SHA-256 of the model's file, hex.
    pub model_digest: String,
    /// Class of arithmetic.
    pub numerics: String,
    /// Samples it can draw at once.
    pub capacity: u32,
    /// Samples being drawn, by its own last report.
    pub running: u32,
    /// Whether the coordinator can reach it now.
    pub connected: bool,
    /// Version of Jury that it runs.
    pub version: String,
}

impl From<v1::GetStatusResponse> for FleetStatus {
    fn from(status: v1::GetStatusResponse) -> Self {
        Self {
            version: status.version,
            requests_running: status.requests_running,
            requests_queued: status.requests_queued,
            queue_limit: status.queue_limit,
            directory: status.directory,
            directory_connected: status.directory_connected,
            workers: status.workers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::WorkerStatus> for WorkerStatus {
    fn from(worker: v1::WorkerStatus) -> Self {
        Self {
            worker_id: worker.worker_id,
            address: worker.address,
            model: worker.model,
            model_digest: worker.model_digest,
            numerics: worker.numerics,
            capacity: worker.capacity,
            running: worker.running,
            connected: worker.connected,
            version: worker.version,
        }
    }
}
