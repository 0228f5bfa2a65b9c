//! Memory for keys and values: reference-counted pages of 64 tokens.
//!
//! ```text
//! page   = for every layer, for every key head: keys, values, value scales
//! keys   = two panels of 32 tokens, laid out like a matrix of 8-bit weights whose outputs are the tokens: one code per
//!          element, one f16 scale for 32 elements of a key
//! values = quads of 4 tokens: for every element 4 neighbouring codes
//! scales = one f32 for every token's value
//! ```
//!
//! A token's codes are made from its own key and value alone: they do not depend on what else is stored.

mod store;

pub(crate) use store::{Slot, store_key, store_value};

use std::ops::Range;

use super::Shape;
use jury_kernels::cpu::PANEL;
use jury_kernels::cpu::memory::{AlignedBytes, Arena};
use jury_kernels::cpu::packed::{Format, Scales};
use jury_kernels::cpu::shared::SharedPages;
use jury_kernels::cpu::thread_pool::Phases;

/// Tokens of a page: two panels of keys.
pub(crate) const PAGE_TOKENS: usize = 64;

/// A page's index in the store.
pub(crate) type PageId = u32;

/// The first `tokens` tokens of a page, as part of some sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) page: PageId,
    pub(crate) tokens: usize,
}

/// All pages of an engine.
#[derive(Debug)]
pub(crate) struct KvStore {
    memory: Arena,
    pages: Vec<AlignedBytes>,
    free: Vec<PageId>,
    most_pages: usize,
    /// Bytes of a page in this process's memory.
    host_bytes: usize,
}

/// Where the keys and values of a layer and head are within a page, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLayout {
    pub(crate) kv_heads: usize,
    /// Elements of a key, a multiple of 32.
    pub(crate) key_size: usize,
    /// Elements of a value, a multiple of 32.
    pub(crate) value_size: usize,
}

// === impl PageLayout ===

impl PageLayout {
    /// How the keys of a panel are stored.
    pub(crate) const KEYS: Format =
        Format { scales: Scales::Half, bits: 8, offset: store::KEY_OFFSET };

    pub(crate) fn new(shape: &Shape) -> PageLayout {
        let Shape { kv_heads, key_size, value_size, .. } = *shape;
        PageLayout { kv_heads, key_size, value_size }
    }

    /// Bytes of a panel of keys.
    pub(crate) fn panel_bytes(self) -> usize {
        Self::KEYS.panel_bytes(self.key_size)
    }

    /// The panels of keys.
    pub(crate) fn keys(&self, layer: usize, head: usize) -> Range<usize> {
        let start = (layer * self.kv_heads + head) * self.head_bytes();
        start..start + PAGE_TOKENS / PANEL * self.panel_bytes()
    }

    /// The codes of values.
    pub(crate) fn values(&self, layer: usize, head: usize) -> Range<usize> {
        let start = self.keys(layer, head).end;
        start..start + PAGE_TOKENS * self.value_size
    }

    /// The scales of values.
    pub(crate) fn value_scales(&self, layer: usize, head: usize) -> Range<usize> {
        let start = self.values(layer, head).end;
        start..start + PAGE_TOKENS * 4
    }

    /// Bytes of a token's keys and values in `layers` layers.
    pub(crate) fn bytes_per_token(&self, layers: usize) -> usize {
        layers * self.kv_heads * self.head_bytes() / PAGE_TOKENS
    }

    fn head_bytes(self) -> usize {
        PAGE_TOKENS / PANEL * self.panel_bytes() + PAGE_TOKENS * (self.value_size + 4)
    }
}

// === impl KvStore ===

impl KvStore {
    /// A store of at most `budget_bytes`; pages are allocated when first needed.
    pub(crate) fn new(shape: &Shape, budget_bytes: u64) -> KvStore {
        let page_bytes = PageLayout::new(shape).bytes_per_token(shape.layers) * PAGE_TOKENS;
        KvStore::of_pages(page_bytes, page_bytes, budget_bytes)
    }

    /// A store that hands out only page ids; the memory, of floats, is on a device.
    #[cfg(feature = "candle")]
    pub(crate) fn numbers_only(shape: &Shape, budget_bytes: u64) -> KvStore {
        let page_bytes = shape.kv_floats_per_token() * 4 * PAGE_TOKENS;
        KvStore::of_pages(page_bytes, 0, budget_bytes)
    }

    /// A store that hands out ids of `most_pages` pages, whose memory is elsewhere.
    pub(crate) fn of_count(most_pages: usize) -> KvStore {
        KvStore {
            memory: Arena::default(),
            pages: Vec::new(),
            free: Vec::new(),
            most_pages,
            host_bytes: 0,
        }
    }

    fn of_pages(page_bytes: usize, host_bytes: usize, budget_bytes: u64) -> KvStore {
        let most_pages = (budget_bytes / page_bytes as u64).min(u64::from(PageId::MAX)) as usize;
        KvStore { host_bytes, ..KvStore::of_count(most_pages) }
    }

    pub(crate) fn most_pages(&self) -> usize {
        self.most_pages
    }

    /// Pages that can still be taken.
    pub(crate) fn free_pages(&self) -> usize {
        self.free.len() + self.most_pages - self.pages.len()
    }

    /// Takes a page; its contents are unspecified, but finite.
    pub(crate) fn take(&mut self) -> Option<PageId> {
        if let Some(page) = self.free.pop() {
            return Some(page);
        }
        if self.pages.len() == self.most_pages {
            return None;
        }
        self.pages.push(self.memory.zeroed(self.host_bytes));
        Some((self.pages.len() - 1) as PageId)
    }

    /// Returns a page.
    pub(crate) fn give_back(&mut self, page: PageId) {
        debug_assert!(!self.free.contains(&page), "page {page} is given back twice");
        self.free.push(page);
    }

    /// All pages, for the threads of a job.
    pub(crate) fn share<'a>(&'a mut self, phases: &'a Phases) -> SharedPages<'a> {
        SharedPages::new(phases, self.pages.iter_mut().map(AlignedBytes::as_mut_slice))
    }
}
