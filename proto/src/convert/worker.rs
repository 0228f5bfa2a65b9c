//! What a worker reports about itself.

use jury_grm::domain::Reproducible;

use crate::v1;

/// What a worker is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerRole {
    /// It draws samples.
    Grm,
    /// It ranks trajectories.
    Meta,
}

/// What a backend can do. Whatever is not reported counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// A sample's seed decides its draws.
    pub seeds: bool,
    /// The distribution of each score can be read.
    pub distributions: bool,
    /// Hidden states can be read, so a head on them can rank samples.
    pub hidden_states: bool,
    /// Cancelled samples stop within one decode step.
    pub cancel: bool,
    /// Jury tokenises the prompts itself, with special tokens only in trusted text.
    pub token_prompts: bool,
    /// One call can draw several samples of one prompt.
    pub many_per_call: bool,
    /// Log-probabilities of tokens are reported.
    pub log_probabilities: bool,
    /// Text can be constrained by a grammar.
    pub constrained_output: bool,
    /// It runs in a mode in which a sample does not depend on its batch, according to the backend itself.
    pub batch_invariant: bool,
}

/// A trained head on the hidden states of the model that draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The name by which requests ask for it.
    pub name: String,
    /// Digest of its file, hex.
    pub digest: String,
}

/// A model that a worker serves in addition to its own: the same weights with an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdaptedModel {
    /// The name by which requests ask for it.
    pub name: String,
    /// Digest of the worker's model and the adapter together, hex.
    pub model_digest: String,
}

/// What a worker serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInfo {
    /// The worker's id.
    pub worker_id: String,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the model's file, hex.
    pub model_digest: String,
    /// Numerics class.
    pub numerics: String,
    /// Version of parser and guide.
    pub method_version: String,
    /// Maximum number of tokens, prompt and generation together.
    pub context_tokens: u32,
    /// What repeating a sample guarantees.
    pub reproducible: Reproducible,
    /// Version of Jury.
    pub version: String,
    /// Samples that can be drawn at once.
    pub capacity: u32,
    /// What it is used for, at least one role.
    pub roles: Vec<WorkerRole>,
    /// What its backend can do.
    pub capabilities: Capabilities,
    /// Tokens that its KV cache holds; `None` if not reported.
    pub room_tokens: Option<u32>,
    /// Heads that rank samples as they are drawn; they belong to its own model.
    pub heads: Vec<Head>,
    /// Models that it serves in addition to its own.
    pub adapters: Vec<AdaptedModel>,
}

// === impl WorkerRole, Capabilities ===

impl From<WorkerRole> for v1::WorkerRole {
    fn from(role: WorkerRole) -> Self {
        match role {
            WorkerRole::Grm => Self::Grm,
            WorkerRole::Meta => Self::Meta,
        }
    }
}

/// Roles that this version knows; a worker that reports none draws samples.
fn roles_from_pb(roles: impl Iterator<Item = v1::WorkerRole>) -> Vec<WorkerRole> {
    let known = roles.filter_map(|role| match role {
        v1::WorkerRole::Grm => Some(WorkerRole::Grm),
        v1::WorkerRole::Meta => Some(WorkerRole::Meta),
        v1::WorkerRole::Unspecified => None,
    });
    let roles: Vec<WorkerRole> = known.collect();
    if roles.is_empty() { vec![WorkerRole::Grm] } else { roles }
}

impl From<Capabilities> for v1::Capabilities {
    fn from(can: Capabilities) -> Self {
        Self {
            seeds: can.seeds,
            distributions: can.distributions,
            hidden_states: can.hidden_states,
            cancel: can.cancel,
            token_prompts: can.token_prompts,
            many_per_call: can.many_per_call,
            log_probabilities: can.log_probabilities,
            constrained_output: can.constrained_output,
            batch_invariant: can.batch_invariant,
        }
    }
}

impl From<v1::Capabilities> for Capabilities {
    fn from(can: v1::Capabilities) -> Self {
        Self {
            seeds: can.seeds,
            distributions: can.distributions,
            hidden_states: can.hidden_states,
            cancel: can.cancel,
            token_prompts: can.token_prompts,
            many_per_call: can.many_per_call,
            log_probabilities: can.log_probabilities,
            constrained_output: can.constrained_output,
            batch_invariant: can.batch_invariant,
        }
    }
}

// === impl Head ===

impl From<Head> for v1::Head {
    fn from(head: Head) -> Self {
        Self { name: head.name, digest: head.digest }
    }
}

impl From<v1::Head> for Head {
    fn from(head: v1::Head) -> Self {
        Self { name: head.name, digest: head.digest }
    }
}

// === impl AdaptedModel ===

impl From<AdaptedModel> for v1::AdaptedModel {
    fn from(model: AdaptedModel) -> Self {
        Self { name: model.name, model_digest: model.model_digest }
    }
}

impl From<v1::AdaptedModel> for AdaptedModel {
    fn from(model: v1::AdaptedModel) -> Self {
        Self { name: model.name, model_digest: model.model_digest }
    }
}

// === impl WorkerInfo ===

impl WorkerInfo {
    /// Names and digests of all models that it serves, its own first.
    pub fn models(&self) -> impl Iterator<Item = (&str, &str)> {
        let adapted = self.adapters.iter();
        std::iter::once((self.model.as_str(), self.model_digest.as_str()))
            .chain(adapted.map(|model| (model.name.as_str(), model.model_digest.as_str())))
    }
}

impl From<v1::GetInfoResponse> for WorkerInfo {
    fn from(info: v1::GetInfoResponse) -> Self {
        Self {
            reproducible: info.reproducible().into(),
            capacity: info.load.map_or(0, |load| load.capacity),
            roles: roles_from_pb(info.roles()),
            capabilities: info.capabilities.unwrap_or_default().into(),
            room_tokens: (info.room_tokens > 0).then_some(info.room_tokens),
            heads: info.heads.into_iter().map(Into::into).collect(),
            adapters: info.adapters.into_iter().map(Into::into).collect(),
            worker_id: info.worker_id,
            model: info.model,
            model_digest: info.model_digest,
            numerics: info.numerics,
            method_version: info.method_version,
            context_tokens: info.context_tokens,
            version: info.version,
        }
    }
}

impl From<WorkerInfo> for v1::GetInfoResponse {
    /// Of the load, only the capacity is known here; the worker adds the rest.
    fn from(info: WorkerInfo) -> Self {
        Self {
            worker_id: info.worker_id,
            model: info.model,
            model_digest: info.model_digest,
            numerics: info.numerics,
            method_version: info.method_version,
            context_tokens: info.context_tokens,
            reproducible: v1::Reproducible::from(info.reproducible).into(),
            version: info.version,
            load: Some(v1::Load { capacity: info.capacity, ..v1::Load::default() }),
            roles: info.roles.into_iter().map(|role| v1::WorkerRole::from(role).into()).collect(),
            capabilities: Some(info.capabilities.into()),
            room_tokens: info.room_tokens.unwrap_or(0),
            heads: info.heads.into_iter().map(Into::into).collect(),
            adapters: info.adapters.into_iter().map(Into::into).collect(),
        }
    }
}
