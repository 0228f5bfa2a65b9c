//! The rows of one step's forward pass.

use std::sync::Arc;

use super::draw::Draw;
use super::plan::Chunk;
use super::{Engine, GroupState, Stage};
use crate::adapter::AdapterId;
use crate::error::SubmitError;
use crate::model::adapted::Adapted;
use crate::model::attention::{Cluster, SequenceRows};
use crate::model::forward::{AdaptedRows, Batch, Row};
use crate::model::kv::{PAGE_TOKENS, PageId};
use crate::outputs::Ask;
use crate::request::{Group, NoWatch, SampleSpec, Sampling};

// === impl GroupState ===

impl GroupState {
    /// Records that the batch's rows from `first` on, which are the group's, use its adapter.
    fn mark(&self, first: usize, batch: &mut Batch) {
        if let Some((_, adapter)) = &self.adapter {
            let rows = first..batch.rows.len();
            batch.adapted.push(AdaptedRows { rows, adapter: adapter.clone() });
        }
    }
}

// === impl Engine ===

impl Engine {
    /// Adds rows for all pending tokens of sequences, and for tokens in flight; returns who gets which logits, and
    /// whether free tokens are among them.
    pub(super) fn add_sequences(&mut self, batch: &mut Batch) -> (Vec<Draw>, bool) {
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
                let first = batch.rows.len();
                let asks = match self.sequences[sequence].pending.is_empty() {
                    true => self.add_ahead(sequence, start, batch),
                    false => self.add_sequence(sequence, start, batch),
                };
                if batch.rows.len() == first {
                    continue;
                }
                decodes |= !self.sequences[sequence].is_past_free_text();
                for (drafts, ask) in asks.into_iter().enumerate() {
                    batch.asks.push(ask);
                    draws.push(Draw { sequence, source: draws.len(), drafts });
                }
                let own = &self.sequences[sequence];
                let tokens = own.cache.tokens + usize::from(own.is_ahead());
                let own = own.cache.segments(tokens);
                sequences.push(SequenceRows { rows: first..batch.rows.len(), own });
            }
            if !sequences.is_empty() {
                let shared = self.tree.segments(&self.groups[source].path);
                batch.clusters.push(Cluster { shared, sequences });
                self.groups[source].mark(first_of_all, batch);
            }
        }
        (draws, decodes)
    }

    /// Adds rows for the pending tokens of a sequence; returns what it will ask, once for the last token and once for
    /// each draft.
    fn add_sequence(&mut self, sequence: usize, start: usize, batch: &mut Batch) -> Vec<Ask> {
        let pending = std::mem::take(&mut self.sequences[sequence].pending);
        let drafts = self.sequences[sequence].drafts.left();
        if self.sequences[sequence].is_past_free_text() {
            self.counters.readout_tokens += pending.len() as u64;
        }
        if !pending.iter().all(|&token| self.compute.embeds(&self.shape, token)) {
            self.sequences[sequence].is_embedded = false;
        }
        for (index, &token) in pending.iter().enumerate() {
            let (page, slot) = self.next_slot(sequence);
            let cache = &mut self.sequences[sequence].cache;
            let position = start + cache.tokens;
            cache.tokens += 1;
            let wants_logits = index + 1 + drafts >= pending.len();
            batch.rows.push(Row { token, position, page, slot, wants_logits });
        }
        let sequence = &mut self.sequences[sequence];
        let asks = (0..=drafts).map(|drafts| sequence.ask(drafts)).collect();
        sequence.launch_pending(batch.asks.len());
        asks
    }

    /// Adds a row for the token that the previous step draws for a sequence, if there may be one.
    fn add_ahead(&mut self, sequence: usize, start: usize, batch: &mut Batch) -> Vec<Ask> {
        let Some(question) = self.sequences[sequence].next_ahead() else { return Vec::new() };
        let (page, slot) = self.next_slot(sequence);
        let sequence = &mut self.sequences[sequence];
        let position = start + sequence.cache.tokens;
        let token = Row::DRAWN | question as u32;
        batch.rows.push(Row { token, position, page, slot, wants_logits: true });
        let ask = sequence.ask(1);
        sequence.launch_ahead(batch.asks.len());
        vec![ask]
    }

    /// Page and slot of a sequence's next token.
    fn next_slot(&mut self, sequence: usize) -> (PageId, usize) {
        if let Some(place) = self.sequences[sequence].cache.next_slot() {
            return place;
        }
        let page = self.take_page();
        self.sequences[sequence].cache.pages.push(page);
        (page, 0)
    }

    /// Adds rows for a chunk of a prompt.
    pub(super) fn add_prompt(&mut self, chunk: Chunk, batch: &mut Batch) {
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
            // A prompt that became ready in this step has no sequence yet: its only sample joins in the next.
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
