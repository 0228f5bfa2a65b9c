//! A step's forward pass, from launch to results.
//!
//! CPU kernels compute a step during the call. A card computes asynchronously: the next step is launched before the
//! previous one has been read, so the card never waits while texts are processed. A sample whose token is in flight
//! gets a row for it immediately; if its text ends with that token, the row is discarded. Prompts and read-outs start
//! one step later than they could. The samples are unchanged: a row's bits do not depend on when it is computed.

use super::draw::Draw;
use super::plan::Chunk;
use super::{Engine, Stage};
use crate::error::SampleError;
use crate::event::Event;
use crate::model::forward::Batch;
use crate::request::GroupId;

/// A step that has been launched.
#[derive(Debug)]
pub(super) struct Flight {
    /// Who gets the logits of the step's questions, in order.
    asked: Vec<Asked>,
    /// Groups whose prompts this step completes, in the order of their rows, which come after the questions' rows.
    complete: Vec<GroupId>,
}

/// A question and the sequence that asked it.
#[derive(Debug)]
struct Asked {
    group: GroupId,
    sample: usize,
    drafts: usize,
}

// === impl Engine ===

impl Engine {
    /// Launches the planned chunks of prompts and the sequences' pending tokens; then lets the sequences act on the
    /// step that has completed.
    pub(super) fn compute(&mut self, prefill: &[Chunk], events: &mut Vec<Event>) {
        let launched = self.launch(prefill);
        let done = match self.compute.runs_ahead() {
            true => std::mem::replace(&mut self.flight, launched),
            false => launched,
        };
        if let Some(flight) = done {
            self.land(&flight, events);
        }
    }

    /// Starts a step; `None` when there is nothing to compute.
    fn launch(&mut self, prefill: &[Chunk]) -> Option<Flight> {
        let mut batch = Batch::default();
        let (draws, decodes) = self.add_sequences(&mut batch);
        batch.sample_rows = batch.rows.len();
        let mut complete = Vec::new();
        for &chunk in prefill {
            self.add_prompt(chunk, &mut batch);
            let group = self.position(chunk.group).map(|index| &self.groups[index]);
            if group.is_some_and(|group| group.path.tokens() == group.prompt.len()) {
                complete.push(chunk.group);
            }
        }
        if batch.rows.is_empty() {
            return None;
        }
        self.compute.launch(&mut self.pool, &self.shape, &mut self.store, &batch);
        self.counters.decode_steps += u64::from(decodes);
        let asked = draws.into_iter().map(|draw| {
            let sequence = &self.sequences[draw.sequence];
            Asked { group: sequence.group, sample: sequence.spec.sample, drafts: draw.drafts }
        });
        Some(Flight { asked: asked.collect(), complete })
    }

    /// Handles a step's outputs.
    fn land(&mut self, flight: &Flight, events: &mut Vec<Event>) {
        self.compute.land();
        if self.fail_if_lost(events) {
            return;
        }
        self.finish_prompts(flight, events);
        let mut draws = Vec::new();
        for (source, asked) in flight.asked.iter().enumerate() {
            let is_it = |sequence: &crate::sequence::Sequence| {
                sequence.group == asked.group && sequence.spec.sample == asked.sample
            };
            // Some have ended since.
            let Some(sequence) = self.sequences.iter().position(is_it) else { continue };
            if asked.drafts > 0 || self.sequences[sequence].land() {
                draws.push(Draw { sequence, source, drafts: asked.drafts });
            }
        }
        self.draw(&draws, false, events);
        // Requested logits may have been lost in transit.
        self.fail_if_lost(events);
    }

    /// Ends every sample with an error if the card is lost; none of them gets an output.
    fn fail_if_lost(&mut self, events: &mut Vec<Event>) -> bool {
        let Some(why) = self.compute.lost() else { return false };
        self.flight = None;
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

    /// Stores the logits of completed prompts.
    fn finish_prompts(&mut self, flight: &Flight, events: &mut Vec<Event>) {
        for (row, &id) in (flight.asked.len()..).zip(&flight.complete) {
            // Its samples may all have been cancelled since.
            let Some(index) = self.position(id) else { continue };
            let group = &mut self.groups[index];
            let mut outputs = self.compute.outputs(&self.shape, row);
            group.logits = outputs.logits().to_vec();
            group.last_hidden = outputs.hidden().to_vec();
            if !group.is_embedded {
                group.logits.fill(f32::NAN);
                group.last_hidden.fill(f32::NAN);
            }
            group.stage = Stage::Ready;
            self.counters.prefills += 1;
            let (group, prompt_tokens, cached_tokens) =
                (group.id, group.prompt.len(), group.cached_tokens);
            events.push(Event::Prefilled { group, prompt_tokens, cached_tokens });
        }
    }
}
