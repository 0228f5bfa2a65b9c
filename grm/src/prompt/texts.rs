//! The texts of one item, stored once however many prompts show them.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;

use super::escape::escape;

/// The texts of one item's prompts, each escaped once and shared by the prompts of all orders.
#[derive(Debug, Default)]
pub struct SharedTexts<'a> {
    /// Keyed by the address and length of the caller's text, which is borrowed for as long as this lives.
    untrusted: HashMap<(usize, usize), Escaped>,
    trusted: HashSet<Arc<str>>,
    item: PhantomData<&'a str>,
}

/// A caller's text with its markers escaped.
#[derive(Debug, Clone)]
pub(super) struct Escaped {
    pub(super) text: Arc<str>,
    /// Number of markers that were escaped.
    pub(super) n_markers: u32,
}

// === impl SharedTexts ===

impl<'a> SharedTexts<'a> {
    /// A text of the item.
    pub(super) fn untrusted(&mut self, text: &'a str) -> Escaped {
        let place = (text.as_ptr() as usize, text.len());
        let escaped = self.untrusted.entry(place).or_insert_with(|| {
            let (text, n_markers) = escape(text);
            Escaped { text: text.into(), n_markers }
        });
        escaped.clone()
    }

    /// A piece of the template.
    pub(super) fn trusted(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.trusted.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.trusted.insert(Arc::clone(&text));
        text
    }
}
