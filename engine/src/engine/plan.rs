//! Plans one step, as a pure function of a description of the engine.
//!
//! ```text
//! cancelled sequences leave -> groups without samples are dropped
//!   -> samples of ready prompts join, oldest group first
//!   -> the chunk is divided: running prompts, oldest first, then new ones, first come first served
//!   -> pages are evicted, as many as the step needs beyond the free ones
//! ```
//!
//! Pages are reserved before they are used: a started group holds room for its prompt and one sample, and every further
//! sequence reserves its own. So whatever has started can finish, and there is no deadlock over pages. A queued group
//! without room holds back all younger ones; a started one always advances. So every group gets its turn.
//!
//! A queued group waits if an older group is computing the beginning of its prompt, and lets others pass: it will find
//! in the cache what it would otherwise compute again. It waits for older groups only, so not forever.
//!
//! NOT guaranteed: the number of rows of a step. A joining sample's first rows are known only after its first draw, and
//! a read-out appends a whole fixed text at once.

mod state;
#[cfg(test)]
mod tests;

pub(super) use state::{GroupView, Limits, Pages, PromptView, SequenceView, State};

use crate::model::kv::PAGE_TOKENS;
use crate::request::GroupId;

/// Minimum prompt tokens of a step with few sequences: below this, a step takes as long as reading the weights, and
/// fewer tokens would not shorten it.
const LEAST_CHUNK_BESIDE_LANES: usize = 64;
/// Prompt tokens in a step for every sequence that decodes in it: such a step takes about five times as long as one
/// without.
const CHUNK_PER_LANE: usize = 4;
/// A queued group waits for an older one that is computing its beginning if that saves at least this many tokens. Below
/// it, a lost step costs more.
const WORTH_WAITING_TOKENS: usize = 16;

/// What the step does; fields are in order of execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StepPlan {
    /// Sequences that end now: indices into `State::sequences`, ascending. They are not computed.
    pub(super) leave: Vec<usize>,
    /// Groups that have no sample left.
    pub(super) drop: Vec<GroupId>,
    /// Groups whose next waiting sample gets a sequence, one entry per sequence.
    pub(super) join: Vec<Join>,
    /// Groups whose prompts are started.
    pub(super) start: Vec<Start>,
    /// Number of stored prompt pages to evict, least recently used first.
    pub(super) evict: usize,
    /// Prompt tokens to compute, at most one entry per group, oldest first.
    pub(super) prefill: Vec<Chunk>,
    /// Sequences whose pending tokens are computed: indices into `State::sequences`, ascending, without the joining
    /// ones, which come after them.
    pub(super) decode: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) group: GroupId,
    /// Uses the room reserved by the group (otherwise its pages are reserved now).
    pub(super) on_base: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) group: GroupId,
    /// Whether it uses its cached tokens. False if it fits only without them: cached beginnings may occupy pages
    /// wastefully.
    pub(super) from_cache: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) group: GroupId,
    /// At least 1.
    pub(super) tokens: usize,
}

/// Plans a step.
pub(super) fn plan(state: &State) -> StepPlan {
    let mut planner = Planner {
        limits: state.limits,
        pages: state.pages,
        groups: state.groups.clone(),
        taken: 0,
        plan: StepPlan::default(),
    };
    planner.leave(&state.sequences);
    planner.join();
    planner.prefill();
    planner.plan.evict = planner.taken.saturating_sub(planner.pages.free);
    planner.plan
}

/// Most prompt tokens of a step in which `sequences` sequences decode. Without sequences nothing waits for the end of
/// the step, and a large chunk reads the weights once for many tokens. With sequences the chunk follows their number:
/// prompts slow decoding down by a bounded factor, and the more samples decode, the more rows a step has anyway.
pub(super) fn chunk_beside(sequences: usize, prefill_chunk: usize) -> usize {
    match sequences {
        0 => prefill_chunk,
        _ => prefill_chunk.min((sequences * CHUNK_PER_LANE).max(LEAST_CHUNK_BESIDE_LANES)),
    }
}

/// The state as the plan changes it.
struct Planner {
    limits: Limits,
    pages: Pages,
    groups: Vec<GroupView>,
    /// Most pages that the step's rows take.
    taken: usize,
    plan: StepPlan,
}

// === impl Planner ===

impl Planner {
    fn leave(&mut self, sequences: &[SequenceView]) {
        let mut live = vec![false; self.groups.len()];
        for (index, sequence) in sequences.iter().enumerate() {
            if !sequence.cancelled {
                live[sequence.group] = true;
                self.taken += (sequence.tokens + sequence.pending)
                    .div_ceil(PAGE_TOKENS)
                    .saturating_sub(sequence.pages);
                self.plan.decode.push(index);
                continue;
            }
            let group = &mut self.groups[sequence.group];
            self.pages.free += sequence.pages;
            self.pages.reserved -= group.sequence_pages - sequence.pages;
            if let PromptView::Started { base_free, .. } = &mut group.prompt
                && sequence.on_base
                && group.waiting > 0
            {
                // Its pages were just returned, so there is room.
                *base_free = true;
                self.pages.reserved += group.sequence_pages;
            }
            self.plan.leave.push(index);
        }
        for (group, live) in self.groups.iter().zip(&live) {
            if *live || group.waiting > 0 {
                continue;
            }
            self.plan.drop.push(group.id);
            // The pages of its prompt become idle, but are not counted yet: a group that starts in this step may reuse
            // them.
            if let PromptView::Started { tokens_left, room, base_free, .. } = group.prompt {
                self.pages.reserved -= pages_of(tokens_left, room);
                self.pages.reserved -= if base_free { group.sequence_pages } else { 0 };
            }
        }
        let mut live = live.into_iter();
        self.groups.retain(|group| live.next().unwrap_or(false) || group.waiting > 0);
    }

    /// Adds sequences for samples whose prompt is ready, oldest groups first.
    fn join(&mut self) {
        for group in &mut self.groups {
            let PromptView::Started { ready: true, base_free, .. } = &mut group.prompt else {
                continue;
            };
            while group.waiting > 0
                && self.plan.decode.len() + self.plan.join.len() < self.limits.max_sequences
            {
                let on_base = std::mem::take(base_free);
                if !on_base {
                    if self.pages.available() < group.sequence_pages {
                        break;
                    }
                    self.pages.reserved += group.sequence_pages;
                }
                group.waiting -= 1;
                self.taken += pages_of(group.first_tokens, 0).min(group.sequence_pages);
                self.plan.join.push(Join { group: group.id, on_base });
            }
        }
    }

    /// Divides the chunk among prompts.
    fn prefill(&mut self) {
        let sequences = self.plan.decode.len() + self.plan.join.len();
        let mut chunk = chunk_beside(sequences, self.limits.prefill_chunk);
        for index in 0..self.groups.len() {
            if let PromptView::Started { tokens_left, room, .. } = self.groups[index].prompt {
                self.compute(index, tokens_left, room, &mut chunk);
            }
        }
        let mut alone =
            self.groups.iter().all(|group| matches!(group.prompt, PromptView::Queued { .. }));
        for index in 0..self.groups.len() {
            let PromptView::Queued { tokens, cached_tokens, cached_idle_pages, shared_tokens } =
                self.groups[index].prompt
            else {
                continue;
            };
            if chunk == 0 {
                break;
            }
            if shared_tokens >= cached_tokens + WORTH_WAITING_TOKENS {
                continue;
            }
            let (group, sequence_pages) =
                (self.groups[index].id, self.groups[index].sequence_pages);
            let (with, without) = (
                pages_of(tokens - cached_tokens, 0) + sequence_pages,
                pages_of(tokens, 0) + sequence_pages,
            );
            if self.pages.available() >= with + cached_idle_pages {
                self.pages.reserved += with;
                // Another group that starts in this step may have counted the same pages.
                self.pages.idle = self.pages.idle.saturating_sub(cached_idle_pages);
                self.plan.start.push(Start { group, from_cache: true });
                self.compute(index, tokens - cached_tokens, 0, &mut chunk);
            } else if alone && self.pages.available() >= without {
                self.pages.reserved += without;
                self.plan.start.push(Start { group, from_cache: false });
                self.compute(index, tokens, 0, &mut chunk);
            } else {
                break;
            }
            alone = false;
        }
    }

    /// Assigns the rest of the chunk to a prompt, as far as it needs it.
    fn compute(&mut self, index: usize, tokens_left: usize, room: usize, chunk: &mut usize) {
        let tokens = tokens_left.min(*chunk);
        if tokens > 0 {
            *chunk -= tokens;
            self.taken += pages_of(tokens, room);
            self.plan.prefill.push(Chunk { group: self.groups[index].id, tokens });
        }
    }
}

/// Pages needed for `tokens` more tokens if the last page has room for `room` of them.
fn pages_of(tokens: usize, room: usize) -> usize {
    tokens.saturating_sub(room).div_ceil(PAGE_TOKENS)
}
