//! The input of a plan: the engine's state before a step.

use crate::request::GroupId;

/// Limits of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Limits {
    /// Maximum number of sequences, at least 1.
    pub(in crate::engine) max_sequences: usize,
    /// Maximum prompt tokens in a step, at least 1.
    pub(in crate::engine) prefill_chunk: usize,
}

/// The store's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Pages {
    /// Free pages.
    pub(in crate::engine) free: usize,
    /// Pages of prompts that are not in use: available after eviction.
    pub(in crate::engine) idle: usize,
    /// Pages of either kind that are reserved for groups and sequences but not yet taken.
    pub(in crate::engine) reserved: usize,
}

/// The engine before a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct State {
    pub(in crate::engine) limits: Limits,
    pub(in crate::engine) pages: Pages,
    /// Oldest first. Of the queued ones, the oldest few are enough.
    pub(in crate::engine) groups: Vec<GroupView>,
    /// In the order of their joining.
    pub(in crate::engine) sequences: Vec<SequenceView>,
}

/// An unfinished group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct GroupView {
    pub(in crate::engine) id: GroupId,
    /// Samples without a sequence, not counting cancelled ones.
    pub(in crate::engine) waiting: usize,
    /// Pages that its longest sample may need.
    pub(in crate::engine) sequence_pages: usize,
    /// Most tokens that a joining sample may add in its first step.
    pub(in crate::engine) first_tokens: usize,
    pub(in crate::engine) prompt: PromptView,
}

/// State of a group's prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum PromptView {
    /// Nothing is computed or reserved.
    Queued {
        /// Its length, at least 1.
        tokens: usize,
        /// Tokens found in the cache; less than `tokens`, because the last one's logits are needed.
        cached_tokens: usize,
        /// Their pages that are not in use.
        cached_idle_pages: usize,
        /// The longest beginning shared with an older group whose prompt is not ready.
        shared_tokens: usize,
    },
    /// Its pages are reserved.
    Started {
        /// Tokens to compute.
        tokens_left: usize,
        /// Whether its logits have been read, so that samples may join. If steps are launched before the previous one
        /// is read, this happens after its last token was launched.
        ready: bool,
        /// Tokens that its last page has room for.
        room: usize,
        /// Whether the room for one sample, which every started group reserves, is unused.
        base_free: bool,
    },
}

/// A decoding sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct SequenceView {
    /// Index into `State::groups`.
    pub(in crate::engine) group: usize,
    /// Tokens it has in its own pages.
    pub(in crate::engine) tokens: usize,
    /// Tokens to compute in this step.
    pub(in crate::engine) pending: usize,
    /// Pages it has taken.
    pub(in crate::engine) pages: usize,
    /// Whether it uses the room that its group always reserves.
    pub(in crate::engine) on_base: bool,
    pub(in crate::engine) cancelled: bool,
}

// === impl Pages ===

impl Pages {
    /// Pages that can still be reserved.
    pub(super) fn available(self) -> usize {
        (self.free + self.idle).saturating_sub(self.reserved)
    }
}
