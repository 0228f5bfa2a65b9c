//! The fleet, as its coordinator sees it.

use jury_proto::v1;
use serde::{Deserialize, Serialize};

/// The role of a worker that draws samples.
const GRM: &str = "grm";

/// The fleet and the load of one coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FleetStatus {
    /// Version of Jury.
    pub version: String,
    /// Requests being judged.
    pub requests_running: u32,
    /// Requests waiting for admission.
    pub requests_queued: u32,
    /// Most requests of one model that may wait; `requests_queued` counts those of all models.
    pub queue_limit: u32,
    /// Where workers come from: "in-process", "fixed", "etcd" or "kubernetes".
    pub directory: String,
    /// False while the directory cannot be reached and the last known fleet is used.
    pub directory_connected: bool,
    /// Every worker that the coordinator knows, by id.
    pub workers: Vec<WorkerStatus>,
    /// The tenants that the caller may see, in the order of their file.
    #[serde(default)]
    pub tenants: Vec<TenantStatus>,
}

/// One tenant's load.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its name; "default" where no tokens are asked for.
    pub name: String,
    /// Its weight among tenants that wait.
    pub weight: u32,
    /// Requests being judged.
    pub requests_running: u32,
    /// Requests waiting for admission.
    pub requests_queued: u32,
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
    /// Version of Jury that it runs.
    pub version: String,
    /// What the coordinator makes of it: "unknown", "ready", "suspect", "probing", "draining" or
    /// "refused".
    pub state: String,
    /// Why it is not ready, a sentence for a person.
    pub state_detail: String,
    /// What it is used for: "grm", "meta".
    pub roles: Vec<String>,
    /// What its backend can do, by the names of the contract; `None`: not yet known.
    pub capabilities: Option<Vec<String>>,
    /// Version of parser and guide.
    pub method_version: String,
    /// Samples waiting for a place, by its own last report.
    pub queued: u32,
    /// Most tokens of prompt and generation together; 0: not yet known.
    pub context_tokens: u32,
    /// Heads that rank its samples.
    #[serde(default)]
    pub heads: Vec<HeadStatus>,
    /// Models that it serves beside its own.
    #[serde(default)]
    pub adapters: Vec<AdaptedStatus>,
}

/// A model that a ready worker draws samples with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedJudge<'a> {
    /// The name by which requests ask for it.
    pub model: &'a str,
    /// SHA-256 of its files, hex.
    pub model_digest: &'a str,
    /// Class of arithmetic.
    pub numerics: &'a str,
}

/// A head of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeadStatus {
    /// The name by which requests ask for it.
    pub name: String,
    /// SHA-256 of its file, hex.
    pub digest: String,
}

/// A model that a worker serves beside its own: the same weights with an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AdaptedStatus {
    /// The name by which requests ask for it.
    pub name: String,
    /// Digest of the worker's model and the adapter together, hex.
    pub model_digest: String,
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
            tenants: status.tenants.into_iter().map(Into::into).collect(),
        }
    }
}

impl FleetStatus {
    /// Those who may judge a request now that asks for `model`; without a name, every worker with its own.
    pub fn judges(&self, model: Option<&str>) -> Vec<ServedJudge<'_>> {
        self.drawing().filter_map(|worker| worker.judge(model)).collect()
    }

    /// How many workers may judge such a request, and the samples that they draw at once, in all.
    pub fn room(&self, model: Option<&str>) -> (usize, usize) {
        let judges = self.drawing().filter(|worker| worker.judge(model).is_some());
        judges.fold((0, 0), |(n, all), worker| (n + 1, all + worker.capacity as usize))
    }

    /// Those who draw samples now.
    fn drawing(&self) -> impl Iterator<Item = &WorkerStatus> {
        let ready = self.workers.iter().filter(|worker| worker.is_ready());
        ready.filter(|worker| worker.roles.iter().any(|role| role == GRM))
    }
}

impl WorkerStatus {
    /// Whether it takes samples now; `state` says more.
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }

    fn judge(&self, asked: Option<&str>) -> Option<ServedJudge<'_>> {
        let own = (&*self.model, &*self.model_digest);
        let adapted = self.adapters.iter().map(|adapted| (&*adapted.name, &*adapted.model_digest));
        let mut serves = std::iter::once(own).chain(adapted);
        let (model, model_digest) =
            serves.find(|(model, _)| asked.is_none_or(|asked| asked == *model))?;
        Some(ServedJudge { model, model_digest, numerics: &self.numerics })
    }
}

impl From<v1::WorkerStatus> for WorkerStatus {
    fn from(worker: v1::WorkerStatus) -> Self {
        Self {
            state: state_name(worker.state()).to_owned(),
            roles: worker.roles().filter_map(role_name).map(str::to_owned).collect(),
            capabilities: worker.capabilities.as_ref().map(capability_names),
            state_detail: worker.state_detail,
            method_version: worker.method_version,
            queued: worker.queued,
            context_tokens: worker.context_tokens,
            heads: worker.heads.into_iter().map(Into::into).collect(),
            adapters: worker.adapters.into_iter().map(Into::into).collect(),
            worker_id: worker.worker_id,
            address: worker.address,
            model: worker.model,
            model_digest: worker.model_digest,
            numerics: worker.numerics,
            capacity: worker.capacity,
            running: worker.running,
            version: worker.version,
        }
    }
}

impl From<v1::AdaptedModel> for AdaptedStatus {
    fn from(model: v1::AdaptedModel) -> Self {
        Self { name: model.name, model_digest: model.model_digest }
    }
}

impl From<v1::TenantStatus> for TenantStatus {
    fn from(tenant: v1::TenantStatus) -> Self {
        let v1::TenantStatus { name, weight, requests_running, requests_queued } = tenant;
        Self { name, weight, requests_running, requests_queued }
    }
}

impl From<v1::Head> for HeadStatus {
    fn from(head: v1::Head) -> Self {
        Self { name: head.name, digest: head.digest }
    }
}

fn state_name(state: v1::WorkerState) -> &'static str {
    match state {
        v1::WorkerState::Unspecified | v1::WorkerState::Unknown => "unknown",
        v1::WorkerState::Ready => "ready",
        v1::WorkerState::Suspect => "suspect",
        v1::WorkerState::Probing => "probing",
        v1::WorkerState::Draining => "draining",
        v1::WorkerState::Refused => "refused",
    }
}

fn role_name(role: v1::WorkerRole) -> Option<&'static str> {
    match role {
        v1::WorkerRole::Unspecified => None,
        v1::WorkerRole::Grm => Some(GRM),
        v1::WorkerRole::Meta => Some("meta"),
    }
}

fn capability_names(can: &v1::Capabilities) -> Vec<String> {
    let all = [
        ("seeds", can.seeds),
        ("distributions", can.distributions),
        ("hidden_states", can.hidden_states),
        ("cancel", can.cancel),
        ("token_prompts", can.token_prompts),
        ("many_per_call", can.many_per_call),
        ("log_probabilities", can.log_probabilities),
        ("constrained_output", can.constrained_output),
        ("batch_invariant", can.batch_invariant),
    ];
    all.into_iter().filter(|(_, can)| *can).map(|(name, _)| name.to_owned()).collect()
}
