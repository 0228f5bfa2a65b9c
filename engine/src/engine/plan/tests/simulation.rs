//! An engine without a model: runs plans on a real prefix tree, and checks every step.

use std::collections::VecDeque;

use super::laws::check;
use super::workload::Arrival;
use super::*;
use crate::model::kv::PageId;
use crate::prefix::{Path, PrefixTree, Realm, common};

pub(super) struct Simulation {
    limits: Limits,
    arrivals: VecDeque<Arrival>,
    pause: usize,
    groups: Vec<Group>,
    sequences: Vec<Sequence>,
    tree: PrefixTree,
    free: Vec<PageId>,
    pages: usize,
    reserved: usize,
    next: u64,
    pub(super) finished: usize,
    pub(super) cancelled: usize,
}

struct Group {
    id: GroupId,
    prompt: Vec<u32>,
    waiting: VecDeque<Vec<usize>>,
    sequence_pages: usize,
    path: Path,
    shared_nodes: usize,
    cached: usize,
    started: bool,
    base_free: bool,
    cancel_after: Option<usize>,
}

struct Sequence {
    group: GroupId,
    feeds: VecDeque<usize>,
    tokens: usize,
    pages: Vec<PageId>,
    on_base: bool,
    cancelled: bool,
}

// === impl Simulation ===

impl Simulation {
    /// With just enough pages for the largest group alone, and some to spare.
    pub(super) fn new(limits: Limits, arrivals: &[Arrival], spare_pages: usize) -> Simulation {
        let least = arrivals.iter().map(|arrival| {
            arrival.prompt.len().div_ceil(PAGE_TOKENS) + sequence_pages(&arrival.samples)
        });
        let pages = least.max().unwrap_or(0) + spare_pages;
        Simulation {
            limits,
            arrivals: arrivals.iter().cloned().collect(),
            pause: 0,
            groups: Vec::new(),
            sequences: Vec::new(),
            tree: PrefixTree::default(),
            free: (0..pages as PageId).collect(),
            pages,
            reserved: 0,
            next: 0,
            finished: 0,
            cancelled: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.arrivals.is_empty() && self.groups.is_empty()
    }

    /// Pages that are neither free nor idle.
    pub(super) fn pages_in_use(&self) -> usize {
        self.pages - self.free.len() - self.tree.idle_pages()
    }

    pub(super) fn step(&mut self) {
        self.arrive();
        self.cancel();
        let state = self.state();
        let plan = plan(&state);
        check(&state, &plan);
        let sequences = plan.decode.len() + plan.join.len();
        self.carry_out(&plan);
        assert!(
            self.free.len() + self.tree.idle_pages() >= self.reserved,
            "more is promised than there is: {plan:?}"
        );
        self.end_sequences();
        self.forget();
        let progress = sequences > 0 || !plan.drop.is_empty() || !plan.prefill.is_empty();
        assert!(progress || state.groups.is_empty(), "a step without progress: {state:?}");
    }

    pub(super) fn state(&self) -> State {
        let mut older: Vec<&[u32]> = Vec::new();
        let mut groups = Vec::new();
        for group in &self.groups {
            let tokens = group.prompt.len();
            let prompt = if group.started {
                let own = group.path.tokens() - group.cached;
                PromptView::Started {
                    tokens_left: tokens - group.path.tokens(),
                    ready: tokens == group.path.tokens(),
                    room: own.next_multiple_of(PAGE_TOKENS) - own,
                    base_free: group.base_free,
                }
            } else {
                let beginning = &group.prompt[..tokens - 1];
                let (cached_tokens, cached_idle_pages) =
                    self.tree.peek(&Realm::default(), beginning);
                let shared = older.iter().map(|other| common(beginning, other)).max();
                let shared_tokens = shared.unwrap_or(0);
                PromptView::Queued { tokens, cached_tokens, cached_idle_pages, shared_tokens }
            };
            if group.path.tokens() < tokens {
                older.push(&group.prompt);
            }
            groups.push(GroupView {
                id: group.id,
                waiting: group.waiting.len(),
                sequence_pages: group.sequence_pages,
                first_tokens: group.waiting.iter().map(|feeds| feeds[0]).max().unwrap_or(0),
                prompt,
            });
        }
        let sequences = self.sequences.iter().map(|sequence| SequenceView {
            group: self.groups.iter().position(|group| group.id == sequence.group).unwrap(),
            tokens: sequence.tokens,
            pending: sequence.feeds[0],
            pages: sequence.pages.len(),
            on_base: sequence.on_base,
            cancelled: sequence.cancelled,
        });
        let pages =
            Pages { free: self.free.len(), idle: self.tree.idle_pages(), reserved: self.reserved };
        State { limits: self.limits, pages, sequences: sequences.collect(), groups }
    }

    fn arrive(&mut self) {
        while let Some(next) = self.arrivals.front() {
            if next.pause > self.pause {
                self.pause += 1;
                return;
            }
            self.pause = 0;
            let Some(Arrival { prompt, samples, cancel_after, .. }) = self.arrivals.pop_front()
            else {
                return;
            };
            self.groups.push(Group {
                id: GroupId(self.next),
                prompt,
                sequence_pages: sequence_pages(&samples),
                waiting: samples.into(),
                path: Path::default(),
                shared_nodes: 0,
                cached: 0,
                started: false,
                base_free: false,
                cancel_after,
            });
            self.next += 1;
        }
    }

    /// Cancels a waiting sample and a sequence of every group whose time has come.
    fn cancel(&mut self) {
        for group in &mut self.groups {
            match &mut group.cancel_after {
                Some(0) => {
                    group.cancel_after = None;
                    self.cancelled += usize::from(group.waiting.pop_back().is_some());
                    if let Some(sequence) =
                        self.sequences.iter_mut().find(|sequence| sequence.group == group.id)
                    {
                        sequence.cancelled = true;
                    }
                }
                Some(steps) => *steps -= 1,
                None => {}
            }
        }
    }

    fn carry_out(&mut self, plan: &StepPlan) {
        for &index in plan.leave.iter().rev() {
            self.cancelled += 1;
            self.end(index);
        }
        for &id in &plan.drop {
            self.drop(id);
        }
        for join in &plan.join {
            let group = self.group(join.group);
            let (feeds, pages) = (group.waiting.pop_front().unwrap(), group.sequence_pages);
            assert!(group.base_free || !join.on_base);
            group.base_free &= !join.on_base;
            self.reserved += if join.on_base { 0 } else { pages };
            self.sequences.push(Sequence {
                group: join.group,
                feeds: feeds.into(),
                tokens: 0,
                pages: Vec::new(),
                on_base: join.on_base,
                cancelled: false,
            });
        }
        for start in &plan.start {
            let index = self.groups.iter().position(|group| group.id == start.group).unwrap();
            let group = &mut self.groups[index];
            if start.from_cache {
                group.path =
                    self.tree.find(&Realm::default(), &group.prompt[..group.prompt.len() - 1]);
            }
            group.shared_nodes = PrefixTree::nodes_of(&group.path);
            group.cached = group.path.tokens();
            (group.started, group.base_free) = (true, true);
            self.reserved +=
                (group.prompt.len() - group.cached).div_ceil(PAGE_TOKENS) + group.sequence_pages;
        }
        for _ in 0..plan.evict {
            self.free.push(self.tree.evict().expect("evictions are of idle pages"));
        }
        for index in 0..self.sequences.len() {
            let pending = self.sequences[index].feeds.pop_front().unwrap();
            self.sequences[index].tokens += pending;
            while self.sequences[index].pages.len() * PAGE_TOKENS < self.sequences[index].tokens {
                let page = self.take();
                self.sequences[index].pages.push(page);
            }
        }
        for chunk in &plan.prefill {
            self.compute(*chunk);
        }
    }

    fn compute(&mut self, chunk: Chunk) {
        let index = self.groups.iter().position(|group| group.id == chunk.group).unwrap();
        for _ in 0..chunk.tokens {
            let group = &self.groups[index];
            if self.tree.next_slot(&group.path, group.shared_nodes, PAGE_TOKENS).is_none() {
                let page = self.take();
                self.tree.grow(&mut self.groups[index].path, page);
            }
            let group = &mut self.groups[index];
            let token = group.prompt[group.path.tokens()];
            self.tree.push(&mut group.path, token);
        }
    }

    fn take(&mut self) -> PageId {
        self.reserved -= 1;
        self.free.pop().expect("the plan evicts enough")
    }

    fn end_sequences(&mut self) {
        for index in (0..self.sequences.len()).rev() {
            if self.sequences[index].feeds.is_empty() {
                self.finished += 1;
                self.end(index);
            }
        }
    }

    fn end(&mut self, index: usize) {
        let sequence = self.sequences.remove(index);
        let group = self.groups.iter_mut().find(|group| group.id == sequence.group).unwrap();
        self.reserved -= group.sequence_pages - sequence.pages.len();
        if sequence.on_base && !group.waiting.is_empty() {
            self.reserved += group.sequence_pages;
            group.base_free = true;
        }
        self.free.extend(sequence.pages);
    }

    fn forget(&mut self) {
        let live = |id: GroupId| self.sequences.iter().any(|sequence| sequence.group == id);
        let gone: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|group| group.waiting.is_empty() && !live(group.id))
            .map(|group| group.id)
            .collect();
        gone.into_iter().for_each(|id| self.drop(id));
    }

    fn drop(&mut self, id: GroupId) {
        let index = self.groups.iter().position(|group| group.id == id).unwrap();
        let group = self.groups.remove(index);
        if group.started {
            let own = group.path.tokens() - group.cached;
            let all = (group.prompt.len() - group.cached).div_ceil(PAGE_TOKENS);
            self.reserved -= all - own.div_ceil(PAGE_TOKENS);
            self.reserved -= if group.base_free { group.sequence_pages } else { 0 };
        }
        self.tree.release(group.path);
    }

    fn group(&mut self, id: GroupId) -> &mut Group {
        self.groups.iter_mut().find(|group| group.id == id).unwrap()
    }
}

fn sequence_pages(samples: &[Vec<usize>]) -> usize {
    samples.iter().map(|feeds| feeds.iter().sum::<usize>().div_ceil(PAGE_TOKENS)).max().unwrap_or(0)
}
