//! Describes the engine's state for the plan.

use super::plan::{GroupView, Limits, Pages, PromptView, SequenceView, State};
use super::{Engine, GroupState, Stage};
use crate::model::kv::PAGE_TOKENS;
use crate::prefix::{Realm, common};

/// Queued groups that a step considers; each is compared with the cache and with the groups before it.
const LOOK_AHEAD: usize = 16;

// === impl Engine ===

impl Engine {
    pub(super) fn describe(&self) -> State {
        let mut groups = Vec::new();
        // Prompts that older groups compute or will compute.
        let mut older: Vec<(&Realm, &[u32])> = Vec::new();
        let mut queued = 0;
        let mut indices = std::collections::HashMap::new();
        for group in &self.groups {
            let prompt = match group.stage {
                Stage::Queued if queued == LOOK_AHEAD => continue,
                Stage::Queued => {
                    queued += 1;
                    self.describe_queued(group, &older)
                }
                Stage::Prefilling | Stage::Ready => Self::describe_started(group),
            };
            if group.stage != Stage::Ready {
                older.push((&group.realm, &group.prompt));
            }
            indices.insert(group.id, groups.len());
            groups.push(GroupView {
                id: group.id,
                waiting: group.waiting.len(),
                sequence_pages: group.sequence_pages,
                first_tokens: group.first_tokens,
                prompt,
            });
        }
        let sequences = self.sequences.iter().map(|sequence| SequenceView {
            group: indices[&sequence.group],
            tokens: sequence.cache.tokens,
            // A sequence whose last token is in flight may get a row for the next one.
            pending: sequence.pending.len().max(usize::from(sequence.is_awaited())),
            pages: sequence.cache.pages.len(),
            on_base: sequence.on_base,
            cancelled: sequence.cancelled,
        });
        State {
            limits: Limits { max_sequences: self.max_sequences, prefill_chunk: self.prefill_chunk },
            pages: Pages {
                free: self.store.free_pages(),
                idle: self.tree.idle_pages(),
                reserved: self.reserved_pages,
            },
            sequences: sequences.collect(),
            groups,
        }
    }

    fn describe_queued(&self, group: &GroupState, older: &[(&Realm, &[u32])]) -> PromptView {
        let (realm, beginning) = (&group.realm, sharable(&group.prompt));
        let (cached_tokens, cached_idle_pages) = self.tree.peek(realm, beginning);
        let alike = older.iter().filter(|&&(other, _)| other == realm);
        let shared_tokens = alike.map(|(_, other)| common(beginning, other)).max().unwrap_or(0);
        let tokens = group.prompt.len();
        PromptView::Queued { tokens, cached_tokens, cached_idle_pages, shared_tokens }
    }

    fn describe_started(group: &GroupState) -> PromptView {
        let own_tokens = group.path.tokens() - group.cached_tokens;
        PromptView::Started {
            tokens_left: group.prompt.len() - group.path.tokens(),
            ready: group.stage == Stage::Ready,
            room: own_tokens.next_multiple_of(PAGE_TOKENS) - own_tokens,
            base_free: group.base_free,
        }
    }
}

/// The part of a prompt that may come from the cache: all but its last token, which is always computed because its
/// logits are needed.
pub(super) fn sharable(prompt: &[u32]) -> &[u32] {
    &prompt[..prompt.len() - 1]
}
