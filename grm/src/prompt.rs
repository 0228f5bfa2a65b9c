//! Prompts as spans of trusted and untrusted text, never as a flat string.

use crate::domain::Role;

/// One turn of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The turn's text, in pieces.
    pub spans: Vec<Span>,
}

/// A piece of text of one trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: String,
    /// Who wrote it.
    pub trust: Trust,
    /// The caller's index of the response that this is.
    pub response: Option<usize>,
}

/// Who wrote a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The template.
    Trusted,
    /// The caller, or a model being judged.
    Untrusted,
}
