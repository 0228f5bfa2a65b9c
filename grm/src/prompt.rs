//! Prompts as spans of trusted and untrusted text, never as a flat string.
//!
//! ```text
//! item + order -> template with placeholders -> split -> [trusted, untrusted, trusted, ...]
//! ```
//!
//! A template sees placeholders where the caller's text will stand, so it cannot run that text as
//! template code; the caller's text is put in afterwards, as spans of its own, with markers of our
//! format escaped. `best` and `labels` of an item never reach a prompt, but for
//! [`Variant::Hinted`].

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

/// A piece of text of one trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text; prompts of one item share it.
    pub text: Arc<str>,
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

/// What a prompt is made of.
#[derive(Debug, Clone, Copy)]
pub struct PromptInput<'a> {
    /// What is judged.
    pub item: &'a Item,
    /// The caller's response indices in the order to show.
    pub order: &'a [usize],
    /// The legal scores.
    pub scale: Scale,
    /// Which prompt.
    pub variant: Variant,
}

/// Which prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// For rewards.
    Plain,
    /// For rejective fine-tuning only (paper, section 3.2): tells which response is best.
    Hinted {
        /// The caller's index of the best response; it must be shown.
        best: usize,
    },
}

/// A prompt, ready for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPrompt {
    /// Its turns.
    pub messages: Vec<Message>,
    /// Markers of our format that were escaped in the caller's text.
    pub escaped_markers: u32,
}

#[cfg(test)]
mod tests;
