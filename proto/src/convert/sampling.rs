//! What coordinator and worker say to each other.

use jury_grm::domain::{Reproducible, SampleSpec, Settings};
use jury_grm::prompt::{Message, Span, Trust};

use super::{index_to_pb, required};
use crate::error::JuryError;
use crate::v1;

/// Samples that share one rendered prompt, and what the worker must be to draw them.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleGroup {
    /// Digest of the model that must draw them, hex.
    pub model_digest: String,
    /// Numerics class that must draw them.
    pub numerics: String,
    /// Version of parser and guide.
    pub method_version: String,
    /// The prompt, before the model's chat template.
    pub messages: Vec<Message>,
    /// Identity of every sample, at least one, all with the same order.
    pub samples: Vec<SampleSpec>,
    /// How they are drawn.
    pub settings: Settings,
    /// The request's id, for logs.
    pub request_id: String,
    /// Milliseconds until nobody waits for these samples any more; `None`: unknown.
    pub remaining_ms: Option<u64>,
    /// Digest of the head that scores each sample, hex; `None`: none does.
    pub head_digest: Option<String>,
    /// Whether samples carry their hidden states.
    pub hidden_states: bool,
}

/// A prompt that is longer than the model's context, with its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens that the prompt may have, the critique's limit already taken off.
    pub limit_tokens: u32,
    /// Tokens over the limit.
    pub over_by: u32,
    /// The caller's index of the longest response shown.
    pub longest_response: Option<usize>,
    /// Tokens of that response.
    pub longest_response_tokens: u32,
}

/// A group that fits the model's context but not one worker's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// Tokens of KV cache that one sample of the group needs, its prompt included.
    pub needed_tokens: u32,
    /// Tokens that the worker's KV cache holds.
    pub room_tokens: u32,
}

/// What a worker is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It draws samples.
    Grm,
    /// It ranks trajectories.
    Meta,
}

/// What a backend can do. Whatever is not told is taken as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// A sample's seed decides its draws.
    pub seeds: bool,
    /// The distribution of each score can be read.
    pub distributions: bool,
    /// Hidden states can be read, so a head on them can rank samples.
    pub hidden_states: bool,
    /// Cancelled samples stop within a decode step.
    pub cancel: bool,
    /// Prompts are tokenised by Jury, special tokens in trusted text only.
    pub token_prompts: bool,
    /// One call draws several samples of one prompt.
    pub many_per_call: bool,
    /// The log-probabilities of tokens are told.
    pub log_probabilities: bool,
    /// Text can be held to a grammar.
    pub constrained_output: bool,
    /// It runs in a mode in which a sample does not depend on its batch, by its own word.
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

/// A model that a worker serves beside its own: the same weights with an adapter.
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
    /// Class of arithmetic.
    pub numerics: String,
    /// Version of parser and guide.
    pub method_version: String,
    /// Most tokens of prompt and generation together.
    pub context_tokens: u32,
    /// What a repeat of a sample may rely on.
    pub reproducible: Reproducible,
    /// Version of Jury.
    pub version: String,
    /// Samples that can be drawn at once.
    pub capacity: u32,
    /// What it is used for, at least one role.
    pub roles: Vec<Role>,
    /// What its backend can do.
    pub capabilities: Capabilities,
    /// Tokens that its KV cache holds; `None`: not told.
    pub room_tokens: Option<u32>,
    /// Heads that rank samples as they are drawn, those of its own model.
    pub heads: Vec<Head>,
    /// Models that it serves beside its own.
    pub adapters: Vec<AdaptedModel>,
}

// === impl SampleGroup ===

impl SampleGroup {
    /// The caller's indices shown by every sample of the group.
    pub fn order(&self) -> &[usize] {
        self.samples.first().map_or(&[], |spec| &spec.order)
    }
}

impl From<SampleGroup> for v1::SampleGroup {
    fn from(group: SampleGroup) -> Self {
        Self {
            model_digest: group.model_digest,
            numerics: group.numerics,
            method_version: group.method_version,
            messages: group.messages.into_iter().map(Into::into).collect(),
            samples: group.samples.into_iter().map(Into::into).collect(),
            settings: Some(group.settings.into()),
            request_id: group.request_id,
            remaining_ms: group.remaining_ms,
            head_digest: group.head_digest.unwrap_or_default(),
            hidden_states: group.hidden_states,
        }
    }
}

impl TryFrom<v1::SampleGroup> for SampleGroup {
    type Error = JuryError;

    fn try_from(group: v1::SampleGroup) -> Result<Self, JuryError> {
        let samples: Vec<SampleSpec> = group.samples.into_iter().map(Into::into).collect();
        let Some(first) = samples.first() else {
            return Err(JuryError::invalid("start.samples", "is empty; give at least 1 sample"));
        };
        if first.order.is_empty() || samples.iter().any(|spec| spec.order != first.order) {
            return Err(JuryError::invalid(
                "start.samples.order",
                "must be the same for every sample of a group, and show at least 1 response",
            ));
        }
        Ok(Self {
            model_digest: group.model_digest,
            numerics: group.numerics,
            method_version: group.method_version,
            messages: group
                .messages
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, JuryError>>()?,
            samples,
            settings: required("start.settings", group.settings)?.into(),
            request_id: group.request_id,
            remaining_ms: group.remaining_ms,
            head_digest: Some(group.head_digest).filter(|digest| !digest.is_empty()),
            hidden_states: group.hidden_states,
        })
    }
}

// === impl Message, Span ===

impl From<Message> for v1::PromptMessage {
    fn from(message: Message) -> Self {
        Self {
            role: v1::Role::from(message.role).into(),
            spans: message.spans.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::PromptMessage> for Message {
    type Error = JuryError;

    fn try_from(message: v1::PromptMessage) -> Result<Self, JuryError> {
        Ok(Self {
            role: message.role().try_into()?,
            spans: message.spans.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<Span> for v1::Span {
    fn from(span: Span) -> Self {
        let trust = match span.trust {
            Trust::Trusted => v1::Trust::Trusted,
            Trust::Untrusted => v1::Trust::Untrusted,
        };
        Self {
            text: span.text.as_ref().to_owned(),
            trust: trust.into(),
            response: span.response.map(index_to_pb),
        }
    }
}

impl From<v1::Span> for Span {
    /// Text whose trust is not stated is untrusted.
    fn from(span: v1::Span) -> Self {
        let trust = match span.trust() {
            v1::Trust::Trusted => Trust::Trusted,
            v1::Trust::Untrusted | v1::Trust::Unspecified => Trust::Untrusted,
        };
        Self { text: span.text.into(), trust, response: span.response.map(|index| index as usize) }
    }
}

// === impl TooLong ===

impl From<TooLong> for v1::TooLong {
    fn from(too_long: TooLong) -> Self {
        Self {
            prompt_tokens: too_long.prompt_tokens,
            limit_tokens: too_long.limit_tokens,
            over_by: too_long.over_by,
            longest_response: too_long.longest_response.map(index_to_pb),
            longest_response_tokens: too_long.longest_response_tokens,
        }
    }
}

impl From<v1::TooLong> for TooLong {
    fn from(too_long: v1::TooLong) -> Self {
        Self {
            prompt_tokens: too_long.prompt_tokens,
            limit_tokens: too_long.limit_tokens,
            over_by: too_long.over_by,
            longest_response: too_long.longest_response.map(|index| index as usize),
            longest_response_tokens: too_long.longest_response_tokens,
        }
    }
}

// === impl TooLarge ===

impl From<TooLarge> for v1::TooLarge {
    fn from(too_large: TooLarge) -> Self {
        Self { needed_tokens: too_large.needed_tokens, room_tokens: too_large.room_tokens }
    }
}

impl From<v1::TooLarge> for TooLarge {
    fn from(too_large: v1::TooLarge) -> Self {
        Self { needed_tokens: too_large.needed_tokens, room_tokens: too_large.room_tokens }
    }
}

// === impl Role, Capabilities ===

impl From<Role> for v1::WorkerRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Grm => Self::Grm,
            Role::Meta => Self::Meta,
        }
    }
}

/// Roles that this version knows; a worker that tells none draws samples.
fn roles_from_pb(roles: impl Iterator<Item = v1::WorkerRole>) -> Vec<Role> {
    let known = roles.filter_map(|role| match role {
        v1::WorkerRole::Grm => Some(Role::Grm),
        v1::WorkerRole::Meta => Some(Role::Meta),
        v1::WorkerRole::Unspecified => None,
    });
    let roles: Vec<Role> = known.collect();
    if roles.is_empty() { vec![Role::Grm] } else { roles }
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
    /// The load but for its capacity is the worker's to add.
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
