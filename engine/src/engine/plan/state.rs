//! What a plan is made from: the engine as it stands before a step.

use crate::request::GroupId;

/// What a step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Limits {
    /// Sequences at once, at least 1.
    pub(in crate::engine) max_sequences: usize,
    /// Prompt tokens in a step, at least 1.
    pub(in crate::engine) prefill_chunk: usize,
}

/// The store's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Pages {
    /// Can be taken at once.
    pub(in crate::engine) free: usize,
    /// Hold prompts that nobody uses: can be taken after eviction.
    pub(in crate::engine) idle: usize,
    /// Of both, promised to groups and sequences, but not taken yet.
    pub(in crate::engine) reserved: usize,
}

/// The engine before a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct State {
    pub(in crate::engine) limits: Limits,
    pub(in crate::engine) pages: Pages,
    /// By age. Of the queued ones, the oldest few are enough.
    pub(in crate::engine) groups: Vec<GroupView>,
    /// In the order of their joining.
    pub(in crate::engine) sequences: Vec<SequenceView>,
}

/// A group that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct GroupView {
    pub(in crate::engine) id: GroupId,
    /// Samples without a sequence, cancelled ones left out.
    pub(in crate::engine) waiting: usize,
    /// Pages that its longest sample may need.
    pub(in crate::engine) sequence_pages: usize,
    /// Tokens that a joining sample may add in its first step, at most.
    pub(in crate::engine) first_tokens: usize,
    pub(in crate::engine) prompt: PromptView,
}

/// How far a group's prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum PromptView {
    /// Nothing is computed or reserved.
    Queued {
        /// Its length, at least 1.
        tokens: usize,
        /// Tokens that the cache has; less than `tokens`, because the last one's logits are wanted.
        cached_tokens: usize,
        /// Pages of those that nobody uses now.
        cached_idle_pages: usize,
        /// The longest beginning that an older group, whose prompt is not ready, has in common with it.
        shared_tokens: usize,
    },
    /// Its pages are reserved.
    Started {
        /// Tokens to compute.
        tokens_left: usize,
        /// Whether its logits are here: samples may join. Where a step is launched before the one before it has been read, they come later than
        /// the last token goes.
        ready: bool,
        /// Tokens that its last page has room for.
        room: usize,
        /// Whether the room for one sample, which every started group keeps, is unused.
        base_free: bool,
    },
}

/// A sample that decodes.
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
    /// Whether it runs on the room that its group always keeps.
    pub(in crate::engine) on_base: bool,
    pub(in crate::engine) cancelled: bool,
}

// === impl Pages ===

impl Pages {
    /// Pages that can still be promised.
    pub(super) fn available(self) -> usize {
        (self.free + self.idle).saturating_sub(self.reserved)
    }
}
