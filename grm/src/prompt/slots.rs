//! Replaces untrusted texts by placeholders while a template runs, then inserts them into its output as spans.

use super::texts::Escaped;
use super::{SharedTexts, Span, TemplateError, Trust};

/// Surround the number of a text. They are Unicode noncharacters, which have no meaning, and [`super::Template::parse`]
/// rejects a template that contains them.
pub(super) const OPEN: char = '\u{FDD0}';
pub(super) const CLOSE: char = '\u{FDD1}';

/// Precedes the number, so that a filter that changes the case of letters breaks the placeholder instead of leaving it
/// intact.
const CASED: &str = "tX";

/// Texts that a template may place but not see.
#[derive(Debug, Default)]
pub(super) struct Slots<'a> {
    slots: Vec<Slot<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Slot<'a> {
    text: &'a str,
    response: Option<usize>,
    /// True if a prompt makes no sense without this text.
    is_question: bool,
}

// === impl Slots ===

impl<'a> Slots<'a> {
    /// Stores `text` and returns the placeholder for the template.
    pub(super) fn put(&mut self, text: &'a str, response: Option<usize>) -> String {
        self.slots.push(Slot { text, response, is_question: false });
        self.placeholder()
    }

    /// As [`Self::put`], for the turn that the responses answer.
    pub(super) fn put_question(&mut self, text: &'a str) -> String {
        self.slots.push(Slot { text, response: None, is_question: true });
        self.placeholder()
    }

    fn placeholder(&self) -> String {
        format!("{OPEN}{CASED}{}{CLOSE}", self.slots.len() - 1)
    }

    /// Splits a template's output into spans and counts the escaped markers. Empty spans are dropped, except those of
    /// empty responses.
    ///
    /// # Errors
    /// [`TemplateError::BrokenText`] if the template changed a placeholder, [`TemplateError::MissingResponse`] if it
    /// did not show every response exactly once, and [`TemplateError::MissingQuery`] if it did not show what they
    /// answer.
    pub(super) fn fill(
        &self,
        rendered: &str,
        name: &str,
        texts: &mut SharedTexts<'a>,
    ) -> Result<(Vec<Span>, u32), TemplateError> {
        let mut spans = Vec::new();
        let mut escaped_markers = 0;
        let mut shown = vec![0; self.slots.len()];
        let mut rest = rendered.trim();
        while let Some((trusted, at_number)) = rest.split_once(OPEN) {
            let (number, after) = at_number.split_once(CLOSE).unwrap_or((at_number, ""));
            let number: Option<usize> =
                number.strip_prefix(CASED).and_then(|number| number.parse().ok());
            let number = number.ok_or_else(|| broken(name))?;
            let slot = self.slots.get(number).ok_or_else(|| broken(name))?;
            push_trusted(&mut spans, trusted, texts);
            let Escaped { text, n_markers } = texts.untrusted(slot.text);
            escaped_markers += n_markers;
            shown[number] += 1;
            if !text.is_empty() || slot.response.is_some() {
                spans.push(Span { text, trust: Trust::Untrusted, response: slot.response });
            }
            rest = after;
        }
        push_trusted(&mut spans, rest, texts);
        for (slot, times) in self.slots.iter().zip(shown) {
            if slot.is_question && times == 0 {
                return Err(TemplateError::MissingQuery { name: name.to_owned() });
            }
            if let (Some(response), true) = (slot.response, times != 1) {
                return Err(TemplateError::MissingResponse {
                    name: name.to_owned(),
                    response,
                    times,
                });
            }
        }
        Ok((spans, escaped_markers))
    }
}

fn broken(name: &str) -> TemplateError {
    TemplateError::BrokenText { name: name.to_owned() }
}

fn push_trusted(spans: &mut Vec<Span>, text: &str, texts: &mut SharedTexts<'_>) {
    if !text.is_empty() {
        spans.push(Span { text: texts.trusted(text), trust: Trust::Trusted, response: None });
    }
}
