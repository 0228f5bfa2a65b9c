//! Who may use lanes and pages, and when.
//!
//! Pages are reserved before they are used: a started group holds room for its prompt and for one sample, every
//! further lane reserves its own. So whatever has started can finish, and nothing waits for pages in a circle.

use super::batch::Draw;
use super::{Engine, Stage};
use crate::event::Event;
use crate::lane::{Lane, Waiting};
use crate::model::kv::{PAGE_TOKENS, PageId};
use crate::prefix::{Path, PrefixTree};
use crate::request::GroupId;
use crate::tokens::GeneratedText;

// === impl Engine ===

impl Engine {
    /// Starts the oldest queued group, if no other prompt is being computed and there is room.
    pub(super) fn start_prompt(&mut self) {
        if self.groups.iter().any(|group| group.stage == Stage::Prefilling) {
            return;
        }
        let Some(index) = self.groups.iter().position(|group| group.stage == Stage::Queued) else {
            return;
        };
        let alone = self.groups.iter().all(|group| group.stage == Stage::Queued);
        let prompt = &self.groups[index].prompt;
        // The last token is computed in any case: its logits are wanted.
        let mut path = self.tree.find(&prompt[..prompt.len() - 1]);
        let mut prompt_pages = (prompt.len() - path.tokens()).div_ceil(PAGE_TOKENS);
        let lane_pages = self.groups[index].lane_pages;
        if self.available_pages() < prompt_pages + lane_pages {
            let without_cache = prompt.len().div_ceil(PAGE_TOKENS);
            self.tree.release(path);
            if !alone {
                return;
            }
            // Alone, it fits an empty cache (`submit` saw to that); what it found there may be cut in wasteful pieces.
            path = Path::default();
            prompt_pages = without_cache;
        }
        self.reserved_pages += prompt_pages + lane_pages;
        self.counters.cached_tokens += path.tokens() as u64;
        self.counters.prefix_hits += u64::from(path.tokens() > 0);
        let group = &mut self.groups[index];
        group.stage = Stage::Prefilling;
        group.shared_nodes = PrefixTree::nodes_of(&path);
        group.cached_tokens = path.tokens();
        group.path = path;
        group.prompt_pages_left = prompt_pages;
        group.base_free = true;
    }

    /// Gives lanes to samples whose prompt is ready, the oldest groups first. They still need their first logits.
    pub(super) fn fill_lanes(&mut self) -> Vec<Draw> {
        let mut joined = Vec::new();
        for source in 0..self.groups.len() {
            while self.lanes.len() < self.max_lanes {
                let available = self.available_pages();
                let group = &mut self.groups[source];
                let on_base = group.base_free;
                if group.stage != Stage::Ready || (!on_base && available < group.lane_pages) {
                    break;
                }
                let Some(waiting) = group.waiting.pop_front() else { break };
                if on_base {
                    group.base_free = false;
                } else {
                    self.reserved_pages += group.lane_pages;
                }
                group.live += 1;
                joined.push(Draw { lane: self.lanes.len(), source });
                let text = self.tokens.answer_to(&group.prompt);
                self.lanes.push(Lane::new(group.id, waiting, on_base, text));
            }
        }
        joined
    }

    /// Takes a reserved page.
    pub(super) fn take_page(&mut self) -> PageId {
        self.reserved_pages -= 1;
        if let Some(page) = self.store.take() {
            return page;
        }
        self.tree.evict().expect("a reserved page is free or evictable")
    }

    pub(super) fn apply_cancels(&mut self, events: &mut Vec<Event>) {
        for (group, sample) in std::mem::take(&mut self.cancels) {
            self.cancel_now(group, sample, events);
        }
        self.forget_finished_groups();
    }

    fn cancel_now(&mut self, id: GroupId, sample: Option<usize>, events: &mut Vec<Event>) {
        let hit = |other: usize| sample.is_none_or(|sample| sample == other);
        if let Some(group) = self.groups.iter_mut().find(|group| group.id == id) {
            let waiting = std::mem::take(&mut group.waiting);
            let (gone, kept): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|waiting| hit(waiting.sample));
            group.waiting = kept.into();
            for waiting in gone {
                self.counters.finished_samples += 1;
                self.counters.cancelled_samples += 1;
                let sample = waiting.sample;
                let output = Lane::new(id, waiting, false, GeneratedText::default()).output(true);
                events.push(Event::Finished { group: id, sample, output });
            }
        }
        for index in (0..self.lanes.len()).rev() {
            if self.lanes[index].group == id && hit(self.lanes[index].spec.sample) {
                let event = self.end_lane(index, None, true);
                events.push(event);
            }
        }
    }

    /// Drops groups without samples; their prompts stay in the cache.
    pub(super) fn forget_finished_groups(&mut self) {
        for index in (0..self.groups.len()).rev() {
            let group = &self.groups[index];
            if group.live > 0 || !group.waiting.is_empty() {
                continue;
            }
            if let Some(group) = self.groups.remove(index) {
                self.reserved_pages -= group.prompt_pages_left;
                self.reserved_pages -= if group.base_free { group.lane_pages } else { 0 };
                self.tree.release(group.path);
            }
        }
    }

    fn available_pages(&self) -> usize {
        (self.store.free_pages() + self.tree.idle_pages()).saturating_sub(self.reserved_pages)
    }
}
