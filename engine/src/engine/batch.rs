//! One step's forward pass: which rows, and what becomes of their logits.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Engine, Stage};
use crate::error::SubmitError;
use crate::event::Event;
use crate::kernels::disjoint::Results;
use crate::model::attention::{Cluster, Member};
use crate::model::forward::{Batch, Forward, Row};
use crate::model::kv::PAGE_TOKENS;
use crate::request::{Group, NoWatch, SampleSpec, Sampling};
use crate::sampling::draw;

/// A lane that gets logits: from a group's prompt, or from a row of the forward pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub(super) lane: usize,
    /// Index of the group, or of the row of logits.
    pub(super) source: usize,
}

// === impl Engine ===

impl Engine {
    /// Computes a chunk of the current prompt and what the lanes have pending; lets the lanes act.
    pub(super) fn compute(&mut self, events: &mut Vec<Event>) {
        let mut batch = Batch::default();
        let (draws, decodes) = self.add_lanes(&mut batch);
        let prefill = self.add_prompt(&mut batch);
        if batch.rows.is_empty() {
            return;
        }
        self.compute.run(&mut self.team, &self.shape, &mut self.store, &batch);
        self.counters.decode_steps += u64::from(decodes);
        if let Some((index, cached_tokens)) = prefill {
            let stride = Forward::logits_stride(&self.shape);
            let group = &mut self.groups[index];
            if group.path.tokens() == group.prompt.len() {
                group.logits = self.compute.logits()[draws.len() * stride..][..stride].to_vec();
                group.stage = Stage::Ready;
                self.reserved_pages -= group.prompt_pages_left;
                group.prompt_pages_left = 0;
                self.counters.prefills += 1;
                let (group, prompt_tokens) = (group.id, group.prompt.len());
                events.push(Event::Prefilled { group, prompt_tokens, cached_tokens });
            }
        }
        self.draw(&draws, false, events);
    }

    /// Draws free tokens, the lanes shared out among the threads; `None` where a lane does not draw.
    pub(super) fn draw_tokens(&mut self, draws: &[Draw], from_groups: bool) -> Vec<Option<u32>> {
        if draws.is_empty() {
            return Vec::new();
        }
        let claims = AtomicUsize::new(0);
        let stride = Forward::logits_stride(&self.shape);
        let level = self.level;
        let wanted: Vec<Option<(&[f32], Sampling, u64)>> = draws
            .iter()
            .map(|wanted| {
                let lane = &self.lanes[wanted.lane];
                let logits = match from_groups {
                    true => self.groups[wanted.source].logits.as_slice(),
                    false => &self.compute.logits()[wanted.source * stride..][..stride],
                };
                lane.draws().then_some((logits, lane.spec.sampling, lane.tokens as u64))
            })
            .collect();
        let tokens = Results::new(draws.len());
        self.team.run(&|_member| {
            let mut scratch = Vec::new();
            loop {
                let index = claims.fetch_add(1, Ordering::Relaxed);
                let Some(wanted) = wanted.get(index) else { return };
                let Some((logits, sampling, position)) = *wanted else { continue };
                let token = draw(level, logits, sampling, position, &mut scratch);
                tokens.put(index, token);
            }
        });
        tokens.into_vec().into_iter().map(Option::flatten).collect()
    }

    /// Rows for all pending tokens of lanes; gives who gets which logits, and whether free tokens are among them.
    fn add_lanes(&mut self, batch: &mut Batch) -> (Vec<Draw>, bool) {
        let mut draws = Vec::new();
        let mut decodes = false;
        for source in 0..self.groups.len() {
            let id = self.groups[source].id;
            if self.groups[source].live == 0 {
                continue;
            }
            let start = self.groups[source].prompt.len();
            let mut members = Vec::new();
            for lane in 0..self.lanes.len() {
                if self.lanes[lane].group != id {
                    continue;
                }
                decodes |= !self.lanes[lane].reads_out();
                let first = batch.rows.len();
                self.add_lane(lane, start, batch);
                draws.push(Draw { lane, source: draws.len() });
                members.push(Member {
                    rows: first..batch.rows.len(),
                    own: self.lanes[lane].cache.segments(),
                });
            }
            let shared = self.tree.segments(&self.groups[source].path);
            batch.clusters.push(Cluster { shared, members });
        }
        (draws, decodes)
    }

    fn add_lane(&mut self, lane: usize, start: usize, batch: &mut Batch) {
        let pending = std::mem::take(&mut self.lanes[lane].pending);
        if self.lanes[lane].reads_out() {
            self.counters.readout_tokens += pending.len() as u64;
        }
        for (index, &token) in pending.iter().enumerate() {
            let (page, slot) = match self.lanes[lane].cache.next_slot() {
                Some(place) => place,
                None => {
                    let page = self.take_page();
                    self.lanes[lane].cache.pages.push(page);
                    (page, 0)
                }
            };
            let cache = &mut self.lanes[lane].cache;
            let position = start + cache.tokens;
            cache.tokens += 1;
            let wants_logits = index + 1 == pending.len();
            batch.rows.push(Row { token, position, page, slot, wants_logits });
        }
    }

    /// Rows for the next chunk of the prompt that is being computed; gives its group, and how much it had found.
    fn add_prompt(&mut self, batch: &mut Batch) -> Option<(usize, usize)> {
        let index = self.groups.iter().position(|group| group.stage == Stage::Prefilling)?;
        let first = batch.rows.len();
        let start = self.groups[index].path.tokens();
        let end = self.groups[index].prompt.len().min(start + self.prefill_chunk);
        self.counters.prefill_tokens += (end - start) as u64;
        for position in start..end {
            let group = &self.groups[index];
            let place = self.tree.next_slot(&group.path, group.shared_nodes, PAGE_TOKENS);
            let (page, slot) = match place {
                Some(place) => place,
                None => {
                    let page = self.take_page();
                    let group = &mut self.groups[index];
                    group.prompt_pages_left -= 1;
                    self.tree.grow(&mut group.path, page);
                    (page, 0)
                }
            };
            let group = &mut self.groups[index];
            let token = group.prompt[position];
            self.tree.push(&mut group.path, token);
            let wants_logits = position + 1 == group.prompt.len();
            batch.rows.push(Row { token, position, page, slot, wants_logits });
        }
        let shared = self.tree.segments(&self.groups[index].path);
        let members = vec![Member { rows: first..batch.rows.len(), own: Vec::new() }];
        batch.clusters.push(Cluster { shared, members });
        Some((index, self.groups[index].cached_tokens))
    }

    /// See [`Engine::logits_after`].
    pub(super) fn probe(&mut self, prompt: &[u32]) -> Result<Vec<f32>, SubmitError> {
        let samples = vec![SampleSpec {
            sampling: Sampling { temperature: 0.0, top_p: 1.0, seed: 0 },
            max_tokens: 1,
            watch: Box::new(NoWatch),
            readout: None,
        }];
        let id = self.enqueue(Group { prompt: prompt.to_vec(), samples })?;
        let mut ignored = Vec::new();
        loop {
            if let Some(group) = self.groups.iter().find(|group| group.id == id)
                && group.stage == Stage::Ready
            {
                let logits = group.logits[..self.shape.vocabulary].to_vec();
                self.cancel_group(id);
                self.apply_cancels(&mut ignored);
                return Ok(logits);
            }
            self.start_prompt();
            self.compute(&mut ignored);
        }
    }
}
