//! One step's forward pass: its rows, and the prompts that it completes.

use std::sync::Arc;

use super::draw::Draw;
use super::plan::Chunk;
use super::{Engine, GroupState, Stage};
use crate::adapter::AdapterId;
use crate::error::{SampleError, SubmitError};
use crate::event::Event;
use crate::model::adapted::Adapted;
use crate::model::attention::{Cluster, SequenceRows};
use crate::model::forward::{AdaptedRows, Batch, Row};
use crate::model::kv::PAGE_TOKENS;
use crate::request::{Group, NoWatch, SampleSpec, Sampling};

// === impl GroupState ===

impl GroupState {
    /// Says of the batch's rows from `first` on, which are the group's, whose they are.
    fn mark(&self, first: usize, batch: &mut Batch) {
        if let Some((_, adapter)) = &self.adapter {
            let rows = first..batch.rows.len();
            batch.adapted.push(AdaptedRows { rows, adapter: adapter.clone() });
        }
    }
}

// === impl Engine ===

impl Engine {
    /// Computes the planned chunks of prompts and what the sequences have pending; lets the sequences act.
    pub(super) fn compute(&mut self, prefill: &[Chunk], events: &mut Vec<Event>) {
        let mut batch = Batch::default();
        let (draws, decodes) = self.add_sequences(&mut batch);
        batch.sample_rows = batch.rows.len();
        for &chunk in prefill {
            self.add_prompt(chunk, &mut batch);
        }
        if batch.rows.is_empty() {
            return;
        }
        self.compute.run(&mut self.pool, &self.shape, &mut self.store, &batch);
        if self.fail_if_lost(events) {
            return;
        }
        self.counters.decode_steps += u64::from(decodes);
        self.finish_prompts(prefill, draws.len(), events);
        self.draw(&draws, false, events);
        // Logits that were asked for may have been lost on the way.
        self.fail_if_lost(events);
    }

    /// Ends every sample with an error if the card is lost: none of them becomes an output.
    fn fail_if_lost(&mut self, events: &mut Vec<Event>) -> bool {
        let Some(why) = self.compute.lost() else { return false };
        for index in (0..self.sequences.len()).rev() {
            let error = SampleError::Lost { why: why.clone() };
            let event = self.end_sequence(index, Some(error), false);
            events.push(event);
        }
        for group in &mut self.groups {
            for waiting in std::mem::take(&mut group.waiting) {
                self.counters.finished_samples += 1;
                let error = SampleError::Lost { why: why.clone() };
                events.push(Event::Failed { group: group.id, sample: waiting.sample, error });
            }
        }
        self.forget_finished_groups();
        true
    }

    /// Rows for all pending tokens of sequences; gives who gets which logits, and whether free tokens are among them.
    fn add_sequences(&mut self, batch: &mut Batch) -> (Vec<Draw>, bool) {
        let mut draws = Vec::new();
        let mut decodes = false;
        for source in 0..self.groups.len() {
            let id = self.groups[source].id;
            if self.groups[source].live == 0 {
                continue;
            }
            let start = self.groups[source].prompt.len();
            let (mut sequences, first_of_all) = (Vec::new(), batch.rows.len());
            for sequence in 0..self.sequences.len() {
                if self.sequences[sequence].group != id {
                    continue;
                }
                decodes |= !self.sequences[sequence].is_past_free_text();
                let first = batch.rows.len();
                self.add_sequence(sequence, start, batch);
                for drafts in 0..=self.sequences[sequence].drafts.left() {
                    batch.asks.push(self.sequences[sequence].ask(drafts));
                    draws.push(Draw { sequence, source: draws.len(), drafts });
                }
                sequences.push(SequenceRows {
                    rows: first..batch.rows.len(),
                    own: self.sequences[sequence].cache.segments(),
                });
            }
            let shared = self.tree.segments(&self.groups[source].path);
            batch.clusters.push(Cluster { shared, sequences });
            self.groups[source].mark(first_of_all, batch);
        }
        (draws, decodes)
    }

    fn add_sequence(&mut self, sequence: usize, start: usize, batch: &mut Batch) {
        let pending = std::mem::take(&mut self.sequences[sequence].pending);
        let drafts = self.sequences[sequence].drafts.left();
        if self.sequences[sequence].is_past_free_text() {
            self.counters.readout_tokens += pending.len() as u64;
        }
        for (index, &token) in pending.iter().enumerate() {
            let (page, slot) = match self.sequences[sequence].cache.next_slot() {
                Some(place) => place,
                None => {
                    let page = self.take_page();
                    self.sequences[sequence].cache.pages.push(page);
                    (page, 0)
                }
            };
            let cache = &mut self.sequences[sequence].cache;
            let position = start + cache.tokens;
            cache.tokens += 1;
            let wants_logits = index + 1 + drafts >= pending.len();
            batch.rows.push(Row { token, position, page, slot, wants_logits });
        }
    }

    /// Rows for a chunk of a prompt.
    fn add_prompt(&mut self, chunk: Chunk, batch: &mut Batch) {
        let Some(index) = self.position(chunk.group) else { return };
        let first = batch.rows.len();
        let start = self.groups[index].path.tokens();
        self.counters.prefill_tokens += chunk.tokens as u64;
        for position in start..start + chunk.tokens {
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
        let sequences = vec![SequenceRows { rows: first..batch.rows.len(), own: Vec::new() }];
        batch.clusters.push(Cluster { shared, sequences });
        self.groups[index].mark(first, batch);
    }

    /// Keeps the logits of prompts that are complete; their rows follow those of the sequences.
    fn finish_prompts(&mut self, prefill: &[Chunk], sequences: usize, events: &mut Vec<Event>) {
        let mut row = sequences;
        for chunk in prefill {
            let Some(group) = self.groups.iter_mut().find(|group| group.id == chunk.group) else {
                continue;
            };
            let prompt_tokens = group.prompt.len();
            if group.path.tokens() < prompt_tokens {
                continue;
            }
            // A complete prompt's last row wanted its logits.
            let mut outputs = self.compute.outputs(&self.shape, row);
            row += 1;
            group.logits = outputs.logits().to_vec();
            group.last_hidden = outputs.hidden().to_vec();
            group.stage = Stage::Ready;
            self.counters.prefills += 1;
            let (group, cached_tokens) = (group.id, group.cached_tokens);
            events.push(Event::Prefilled { group, prompt_tokens, cached_tokens });
        }
    }

    /// See [`Engine::logits_after`].
    pub(super) fn probe(
        &mut self,
        prompt: &[u32],
        adapter: Option<(AdapterId, Arc<Adapted>)>,
    ) -> Result<Vec<f32>, SubmitError> {
        let samples = vec![SampleSpec {
            sampling: Sampling { temperature: 0.0, top_p: 1.0, seed: 0 },
            max_tokens: 1,
            watch: Box::new(NoWatch),
            readout: None,
            last_hidden: false,
            ignores_end: false,
        }];
        let id =
            self.enqueue(Group { prompt: prompt.to_vec(), samples, cache_salt: None }, adapter)?;
        let mut ignored = Vec::new();
        loop {
            self.step(&mut ignored);
            if let Some(why) = self.lost() {
                return Err(SubmitError::Lost { why });
            }
            // A prompt that got ready in this step has no sequence yet: its only sample joins in the next.
            if let Some(group) = self.groups.iter().find(|group| group.id == id)
                && group.stage == Stage::Ready
            {
                let logits = group.logits[..self.shape.outputs].to_vec();
                self.cancel_group(id);
                self.apply_cancels(&mut ignored);
                self.forget_finished_groups();
                return Ok(logits);
            }
        }
    }
}
