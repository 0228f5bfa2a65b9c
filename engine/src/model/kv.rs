//! Memory for keys and values: pages of 64 tokens, counted by their users.
//!
//! ```text
//! page  = for every layer, for every key head: keys, values
//! keys  = head size x 64, a column a token (scores of neighbouring tokens are neighbours)
//! values = 64 x head size, a row a token
//! ```

use super::Shape;
use crate::kernels::aligned::AlignedBytes;
use crate::kernels::disjoint::Disjoint;

/// Tokens of a page: four registers of scores.
pub(crate) const PAGE_TOKENS: usize = 64;

/// A page's place in the store.
pub(crate) type PageId = u32;

/// The first `tokens` tokens of a page, as a part of some sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) page: PageId,
    pub(crate) tokens: usize,
}

/// All pages of an engine.
#[derive(Debug)]
pub(crate) struct KvStore {
    pages: Vec<AlignedBytes>,
    free: Vec<PageId>,
    most_pages: usize,
    page_bytes: usize,
    /// Of a page, in this store.
    host_bytes: usize,
}

/// Where a layer's and head's keys and values lie in a page, in floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLayout {
    kv_heads: usize,
    pub(crate) head_size: usize,
}

// === impl PageLayout ===

impl PageLayout {
    pub(crate) fn new(shape: &Shape) -> PageLayout {
        PageLayout { kv_heads: shape.kv_heads, head_size: shape.head_size() }
    }

    pub(crate) fn keys(&self, layer: usize, head: usize) -> usize {
        (layer * self.kv_heads + head) * 2 * self.head_size * PAGE_TOKENS
    }

    pub(crate) fn values(&self, layer: usize, head: usize) -> usize {
        self.keys(layer, head) + self.head_size * PAGE_TOKENS
    }
}

// === impl KvStore ===

impl KvStore {
    /// A store of at most `budget_bytes`; pages are made when they are first needed.
    pub(crate) fn new(shape: &Shape, budget_bytes: u64) -> KvStore {
        let page_bytes = shape.kv_floats_per_token() * PAGE_TOKENS * 4;
        let most_pages = (budget_bytes / page_bytes as u64).min(u64::from(PageId::MAX)) as usize;
        let host_bytes = page_bytes;
        KvStore { pages: Vec::new(), free: Vec::new(), most_pages, page_bytes, host_bytes }
    }

    /// A store that hands out pages whose memory is on a device.
    #[cfg(feature = "candle")]
    pub(crate) fn numbers_only(shape: &Shape, budget_bytes: u64) -> KvStore {
        KvStore { host_bytes: 0, ..KvStore::new(shape, budget_bytes) }
    }

    pub(crate) fn page_bytes(&self) -> u64 {
        self.page_bytes as u64
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
        self.pages.push(AlignedBytes::zeroed(self.host_bytes));
        Some((self.pages.len() - 1) as PageId)
    }

    /// Gives a page back.
    pub(crate) fn give_back(&mut self, page: PageId) {
        debug_assert!(!self.free.contains(&page), "page {page} is given back twice");
        self.free.push(page);
    }

    /// All pages, for threads that write disjoint parts.
    pub(crate) fn views(&mut self) -> Vec<Disjoint<'_, f32>> {
        self.pages.iter_mut().map(|page| Disjoint::new(page.as_mut_floats())).collect()
    }
}
