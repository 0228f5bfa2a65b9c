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
    /// Author of the message.
    pub role: Role,
    /// The text, in order.
    pub spans: Vec<Span>,
}

/// Author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions from the operator.
    System,
    /// The user.
    User,
    /// The model, in an earlier turn.
    Assistant,
}

/// A piece of text with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: String,
    /// Whether special tokens in it are recognised.
    pub trust: Trust,
}

/// Whether a piece of text may contain special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Written by the operator: special tokens are recognised.
    Trusted,
    /// Written by anyone: every character is plain text.
    Untrusted,
}

// === impl Role ===

impl Role {
    /// The name that chat templates use.
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
    /// Text written by the operator.
    pub fn trusted(text: impl Into<String>) -> Span {
        Span { text: text.into(), trust: Trust::Trusted }
    }

    /// Text written by anyone.
    pub fn untrusted(text: impl Into<String>) -> Span {
        Span { text: text.into(), trust: Trust::Untrusted }
    }
}
