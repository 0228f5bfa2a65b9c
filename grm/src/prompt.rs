//! Prompts as spans of trusted and untrusted text, never as a flat string.
//!
//! ```text
//! item + order -> template with placeholders -> split -> [trusted, untrusted, trusted, ...]
//! ```
//!
//! A template sees placeholders instead of the caller's text, so it cannot run that text as template code. The caller's
//! text is inserted afterwards, as separate spans, with the markers of our format escaped. An item's `best` and
//! `labels` never reach a prompt, except in [`Variant::Hinted`].

mod escape;
mod slots;
mod template;
mod texts;
mod variables;

use std::sync::Arc;

use crate::domain::{Item, Role, Scale};

pub use template::{Template, TemplateError};
pub use texts::SharedTexts;

/// One turn of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The turn's text, in pieces.
    pub spans: Vec<Span>,
}

/// A piece of text with a single trust level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text; prompts of one item share it.
    pub text: Arc<str>,
    /// Who wrote it.
    pub trust: Trust,
    /// The caller's index, if the text is a response.
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

/// The input for rendering a prompt.
#[derive(Debug, Clone, Copy)]
pub struct PromptInput<'a> {
    /// What is judged.
    pub item: &'a Item,
    /// The caller's response indices in the order to show.
    pub order: &'a [usize],
    /// The legal scores.
    pub scale: Scale,
    /// Which variant of the prompt.
    pub variant: Variant,
}

/// Variants of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// For rewards.
    Plain,
    /// For rejective fine-tuning only (paper, section 3.2): reveals which response is best.
    Hinted {
        /// The caller's index of the best response; it must be shown.
        best: usize,
    },
}

/// A prompt that is ready for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPrompt {
    /// Its turns.
    pub messages: Vec<Message>,
    /// Markers of our format that were escaped in the caller's text.
    pub escaped_markers: u32,
}

#[cfg(test)]
mod tests;
