//! A prompt as a list of messages, each a list of trusted and untrusted spans.

/// A conversation to be turned into tokens by the model's own chat template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// The messages in order; the template adds what starts the model's answer.
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub spans: Vec<Span>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions from the operator.
    System,
    /// The person.
    User,
    /// The model, in an earlier turn.
    Assistant,
}

/// A piece of text with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: String,
    /// Whether special tokens in it are obeyed.
    pub trust: Trust,
}

/// Where a piece of text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Written by the operator: special tokens are recognised.
    Trusted,
    /// Written by anyone: every character is just text.
    Untrusted,
}

// === impl Role ===

impl Role {
    /// The name that chat templates know.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

// === impl Span ===

impl Span {
    /// Text of the operator.
    pub fn trusted(text: impl Into<String>) -> Span {
        Span { text: text.into(), trust: Trust::Trusted }
    }

    /// Text of anyone.
    pub fn untrusted(text: impl Into<String>) -> Span {
        Span { text: text.into(), trust: Trust::Untrusted }
    }
}
