//! Applies a plan's arrivals and departures; `plan` has already decided them and counted the pages.

use super::describe::sharable;
use super::draw::Draw;
use super::plan::{Join, Start, StepPlan};
use super::{Engine, Stage};
use crate::event::Event;
use crate::model::kv::{PAGE_TOKENS, PageId};
use crate::prefix::{Path, PrefixTree};
use crate::request::GroupId;
use crate::sequence::{Sequence, Waiting};
use crate::tokens::GeneratedText;

// === impl Engine ===

impl Engine {
    /// Ends cancelled samples that wait; marks those with a sequence, for the plan.
    pub(super) fn apply_cancels(&mut self, events: &mut Vec<Event>) {
        for (id, sample) in std::mem::take(&mut self.cancels) {
            let hit = |other: usize| sample.is_none_or(|sample| sample == other);
            for sequence in &mut self.sequences {
                sequence.cancelled |= sequence.group == id && hit(sequence.spec.sample);
            }
            let Some(group) = self.groups.iter_mut().find(|group| group.id == id) else { continue };
            let (gone, kept): (Vec<Waiting>, Vec<Waiting>) =
                group.waiting.drain(..).partition(|waiting| hit(waiting.sample));
            group.waiting = kept.into();
            for waiting in gone {
                self.counters.finished_samples += 1;
                self.counters.cancelled_samples += 1;
                let sample = waiting.sample;
                let output =
                    Sequence::new(id, waiting, false, GeneratedText::default()).output(true);
                events.push(Event::Finished { group: id, sample, output });
            }
        }
    }

    /// Removes and adds sequences and groups, and evicts pages; returns the sequences that need their first logits.
    pub(super) fn admit(&mut self, plan: &StepPlan, events: &mut Vec<Event>) -> Vec<Draw> {
        for &sequence in plan.leave.iter().rev() {
            let event = self.end_sequence(sequence, None, true);
            events.push(event);
        }
        for &group in &plan.drop {
            self.drop_group(group);
        }
        let joined = plan.join.iter().filter_map(|&join| self.join(join)).collect();
        for &start in &plan.start {
            self.start(start);
        }
        for _ in 0..plan.evict {
            let page = self.tree.evict().expect("a plan evicts at most the pages that are idle");
            self.store.give_back(page);
        }
        joined
    }

    /// Drops groups without samples; their prompts stay in the cache.
    pub(super) fn forget_finished_groups(&mut self) {
        let finished = |group: &&super::GroupState| group.live == 0 && group.waiting.is_empty();
        let finished: Vec<GroupId> =
            self.groups.iter().filter(finished).map(|group| group.id).collect();
        for group in finished {
            self.drop_group(group);
        }
    }

    /// Index of an unfinished group.
    pub(super) fn position(&self, id: GroupId) -> Option<usize> {
        // Ids grow with age, and the oldest group is first.
        self.groups.binary_search_by_key(&id, |group| group.id).ok()
    }

    /// Takes a reserved page.
    pub(super) fn take_page(&mut self) -> PageId {
        self.reserved_pages -= 1;
        self.store.take().expect("the plan has evicted as many pages as its step takes")
    }

    fn drop_group(&mut self, id: GroupId) {
        let Some(group) = self.position(id).and_then(|index| self.groups.remove(index)) else {
            return;
        };
        self.reserved_pages -= group.prompt_pages_left;
        self.reserved_pages -= if group.base_free { group.sequence_pages } else { 0 };
        self.tree.release(group.path);
    }

    fn join(&mut self, join: Join) -> Option<Draw> {
        let source = self.position(join.group)?;
        let group = &mut self.groups[source];
        let waiting = group.waiting.pop_front()?;
        match join.on_base {
            true => group.base_free = false,
            false => self.reserved_pages += group.sequence_pages,
        }
        group.live += 1;
        let text = self.tokens.answer_to(&group.prompt);
        self.sequences.push(Sequence::new(group.id, waiting, join.on_base, text));
        Some(Draw { sequence: self.sequences.len() - 1, source, drafts: 0 })
    }

    fn start(&mut self, start: Start) {
        let Some(index) = self.position(start.group) else { return };
        let group = &mut self.groups[index];
        let path = match start.from_cache {
            true => self.tree.find(&group.realm, sharable(&group.prompt)),
            false => Path::new(&group.realm),
        };
        let prompt_pages = (group.prompt.len() - path.tokens()).div_ceil(PAGE_TOKENS);
        self.reserved_pages += prompt_pages + group.sequence_pages;
        self.counters.cached_tokens += path.tokens() as u64;
        self.counters.prefix_hits += u64::from(path.tokens() > 0);
        group.stage = Stage::Prefilling;
        group.shared_nodes = PrefixTree::nodes_of(&path);
        group.cached_tokens = path.tokens();
        group.path = path;
        group.prompt_pages_left = prompt_pages;
        group.base_free = true;
    }
}
