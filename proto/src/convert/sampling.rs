//! What a coordinator asks of a worker: groups of samples, and why one is rejected.

use jury_grm::domain::{SampleSpec, Settings};
use jury_grm::prompt::{Message, Span, Trust};

use super::{index_to_pb, required};
use crate::error::JuryError;
use crate::v1;

/// Samples that share one rendered prompt, and what is required of the worker that draws them.
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
    /// Milliseconds until nobody is waiting for these samples any more; `None`: unknown.
    pub remaining_ms: Option<u64>,
    /// Digest of the head that scores each sample, hex; `None` if none does.
    pub head_digest: Option<String>,
    /// Whether samples carry their hidden states.
    pub hidden_states: bool,
    /// Cached state of the prompt is reused only by groups with the same salt.
    pub cache_salt: Option<String>,
}

/// A prompt that is longer than the model's context, with the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens that the prompt may have, after subtracting the limit of the critique.
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
    /// Tokens of KV cache that one sample of the group needs, including its prompt.
    pub needed_tokens: u32,
    /// Tokens that the worker's KV cache holds.
    pub room_tokens: u32,
}

// === impl SampleGroup ===

impl SampleGroup {
    /// The caller's indices of the responses that every sample of the group shows.
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
            cache_salt: group.cache_salt.unwrap_or_default(),
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
            cache_salt: Some(group.cache_salt).filter(|salt| !salt.is_empty()),
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
