//! What sequences do with their logits: draw, read out, and end.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Engine;
use crate::error::SampleError;
use crate::event::Event;
use crate::model::forward::Forward;
use crate::outputs::{Outputs, Reader};
use crate::request::Sampling;
use crate::sampling::draw;
use crate::sequence::Wish;
use jury_kernels::cpu::thread_pool::Results;

/// Free tokens between two progress events of a sample.
const PROGRESS_TOKENS: usize = 16;

/// A sequence that gets logits: from a group's prompt, or from a row of the forward pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    pub(super) sequence: usize,
    /// Index of the group, or of the row of logits.
    pub(super) source: usize,
    /// Drafts of the sequence before this row: the row counts only if all of them are accepted.
    pub(super) drafts: usize,
}

// === impl Engine ===

impl Engine {
    /// Gives every sequence of `draws` its logits: tokens are drawn in parallel, then the sequences act in order.
    pub(super) fn draw(&mut self, draws: &[Draw], from_groups: bool, events: &mut Vec<Event>) {
        let tokens = match self.compute.tokens() {
            Some(tokens) if !from_groups => {
                let token = |draw: &Draw| {
                    let draws = self.sequences[draw.sequence].draws();
                    tokens.get(draw.source).copied().flatten().filter(|_| draws)
                };
                draws.iter().map(token).collect()
            }
            _ => self.draw_tokens(draws, from_groups),
        };
        let mut scratch = Vec::new();
        let mut ended = Vec::new();
        let mut accepted = false;
        for (draw, token) in draws.iter().zip(tokens) {
            if draw.drafts > 0 && !accepted {
                continue;
            }
            let sequence = &mut self.sequences[draw.sequence];
            let outputs = match from_groups {
                true => {
                    let group = &self.groups[draw.source];
                    Outputs::Host { logits: &group.logits, hidden: &group.last_hidden }
                }
                false => self.compute.outputs(&self.shape, draw.source),
            };
            let mut read = Reader { level: self.level, outputs, scratch: &mut scratch };
            let wish = if sequence.draws() {
                self.counters.decode_tokens += 1;
                sequence.take_token(token, &self.tokens, &mut read)
            } else {
                sequence.take_logits(&self.tokens, &mut read)
            };
            if !sequence.is_past_free_text()
                && sequence.tokens > 0
                && sequence.tokens.is_multiple_of(PROGRESS_TOKENS)
            {
                let (group, sample, tokens) =
                    (sequence.group, sequence.spec.sample, sequence.tokens);
                events.push(Event::Progress { group, sample, tokens });
            }
            sequence.settle(matches!(wish, Wish::Feed));
            accepted = matches!(wish, Wish::Next);
            self.counters.accepted_tokens += u64::from(accepted);
            match wish {
                Wish::Feed | Wish::Next => {}
                Wish::Done => ended.push((draw.sequence, None)),
                Wish::Failed(error) => ended.push((draw.sequence, Some(error))),
            }
        }
        ended.sort_by_key(|&(sequence, _)| std::cmp::Reverse(sequence));
        let mut told = Vec::new();
        for (sequence, error) in ended {
            told.push(self.end_sequence(sequence, error, false));
        }
        events.extend(told.into_iter().rev());
    }

    /// Removes a sequence; later ones move up.
    pub(super) fn end_sequence(
        &mut self,
        index: usize,
        error: Option<SampleError>,
        cancelled: bool,
    ) -> Event {
        let sequence = self.sequences.remove(index);
        self.counters.finished_samples += 1;
        self.counters.cancelled_samples += u64::from(cancelled);
        let (group, sample) = (sequence.group, sequence.spec.sample);
        for &page in &sequence.cache.pages {
            self.store.give_back(page);
        }
        if let Some(state) = self.groups.iter_mut().find(|state| state.id == group) {
            self.reserved_pages -= state.sequence_pages - sequence.cache.pages.len();
            state.live -= 1;
            if sequence.on_base && !state.waiting.is_empty() {
                // Its pages were just returned, so there is room.
                self.reserved_pages += state.sequence_pages;
                state.base_free = true;
            }
        }
        match error {
            Some(error) => Event::Failed { group, sample, error },
            None => Event::Finished { group, sample, output: sequence.output(cancelled) },
        }
    }

    /// Draws free tokens, with the sequences divided among the threads; `None` for a sequence that does not draw.
    fn draw_tokens(&mut self, draws: &[Draw], from_groups: bool) -> Vec<Option<u32>> {
        if draws.is_empty() {
            return Vec::new();
        }
        let claims = AtomicUsize::new(0);
        let stride = Forward::logits_stride(&self.shape);
        let level = self.level;
        let wanted: Vec<Option<(&[f32], Sampling, u64)>> = draws
            .iter()
            .map(|wanted| {
                let sequence = &self.sequences[wanted.sequence];
                let logits = match from_groups {
                    true => self.groups[wanted.source].logits.as_slice(),
                    false => &self.compute.logits()[wanted.source * stride..][..stride],
                };
                let position = (sequence.tokens + wanted.drafts) as u64;
                sequence.draws().then_some((logits, sequence.spec.sampling, position))
            })
            .collect();
        let tokens = Results::new(draws.len());
        self.pool.run(&|_thread| {
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
}
