//! What a step is asked: tokens are drawn and sets of tokens weighed on the card; logits and hidden states stay there until somebody
//! wants them.

use std::sync::Arc;

use super::CardModel;
use super::memory::padded_outputs;
use super::tables::Tables;
use crate::model::forward::{Batch, Forward};
use crate::outputs::Ask;
use crate::readout::Question;
use jury_kernels::cuda::{Buffer, Card, CudaError};

/// What the kernel gives where the logits hold no number.
const NO_TOKEN: u32 = u32::MAX;

/// The answers of the last step.
#[derive(Debug, Default)]
pub(super) struct Answers {
    memory: Option<Memory>,
    tokens: Vec<Option<u32>>,
    masses: Vec<(usize, Arc<Question>, Vec<f64>)>,
    /// Logits that were fetched, with their row.
    logits: (Option<usize>, Vec<f32>),
    /// A hidden state that was fetched.
    hidden: (Option<usize>, Vec<f32>),
}

/// Where the card writes answers.
#[derive(Debug)]
struct Memory {
    tokens: Buffer<u32>,
    masses: Buffer<f64>,
}

// === impl CardModel ===

impl CardModel {
    /// Has the last step's questions answered, and waits for the answers.
    pub(super) fn answer(&mut self, batch: &Batch, tables: &Tables) -> Result<(), CudaError> {
        let (draws, sums) = (tables.draws.len(), tables.sets.len());
        let answers = &mut self.answers;
        let memory = answers.make_room(&self.card, draws, sums)?;
        let extent = tables.extent();
        let extent = if tables.repeats() { extent.padded() } else { extent };
        let Some(views) = self.block.answers(&extent, tables) else { return Ok(()) };
        let sizes = [padded_outputs(&self.shape), self.shape.outputs];
        let logits = self.buffers.logits.view();
        let drawn = memory.tokens.slice(0..draws);
        if tables.draws.iter().any(|draw| draw.kind != 0) {
            self.kernels.draw(logits, sizes, views.draws, drawn)?;
        }
        let sets = [views.sets, views.members];
        self.kernels.masses(logits, sizes, views.questions, sets, memory.masses.view())?;
        let mut tokens = vec![NO_TOKEN; draws];
        let mut masses = vec![0.0; sums];
        if draws > 0 {
            memory.tokens.read(0, &mut tokens)?;
        }
        if sums > 0 {
            memory.masses.read(0, &mut masses)?;
        }
        // Errors of the step show when it is waited for.
        self.card.synchronise()?;
        answers.keep(batch, &tokens, &masses);
        Ok(())
    }
}

// === impl Answers ===

impl Answers {
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.masses.clear();
        self.logits.0 = None;
        self.hidden.0 = None;
    }

    pub(super) fn tokens(&self) -> &[Option<u32>] {
        &self.tokens
    }

    pub(super) fn masses(&self, row: usize, question: &Arc<Question>) -> Option<&[f64]> {
        let is_it = |(other, asked, _): &&(usize, Arc<Question>, Vec<f64>)| {
            *other == row && Arc::ptr_eq(asked, question)
        };
        self.masses.iter().find(is_it).map(|(_, _, masses)| masses.as_slice())
    }

    /// A row's logits, padded with minus infinity to what the own kernels pad to.
    pub(super) fn fetch_logits(
        &mut self,
        from: &Buffer<f32>,
        row: usize,
        stride: usize,
        outputs: usize,
        lost: &mut Option<CudaError>,
    ) -> &[f32] {
        let padded = Forward::padded(outputs);
        fetch(&mut self.logits, from, row, stride, outputs, lost);
        self.logits.1.resize(padded, f32::NEG_INFINITY);
        &self.logits.1
    }

    pub(super) fn fetch_hidden(
        &mut self,
        from: &Buffer<f32>,
        row: usize,
        width: usize,
        lost: &mut Option<CudaError>,
    ) -> &[f32] {
        fetch(&mut self.hidden, from, row, width, width, lost);
        &self.hidden.1
    }

    fn make_room(&mut self, card: &Card, draws: usize, sums: usize) -> Result<&Memory, CudaError> {
        let fits = |memory: &Memory| memory.tokens.len() >= draws && memory.masses.len() >= sums;
        if !self.memory.as_ref().is_some_and(fits) {
            self.memory = None;
            let room = |needed: usize| needed.next_power_of_two().max(64);
            let memory = Memory {
                tokens: Buffer::new(card, room(draws), "drawn tokens")?,
                masses: Buffer::new(card, room(sums), "answers")?,
            };
            return Ok(self.memory.insert(memory));
        }
        self.memory.as_ref().ok_or_else(|| CudaError::Unsupported("no room for answers".to_owned()))
    }

    fn keep(&mut self, batch: &Batch, tokens: &[u32], masses: &[f64]) {
        let mut rest = masses;
        for ((row, ask), &token) in batch.asks.iter().enumerate().zip(tokens) {
            let draws = matches!(ask, Ask::Token(..));
            self.tokens.push((draws && token != NO_TOKEN).then_some(token));
            if let Ask::Masses(question) = ask {
                let (own, others) = rest.split_at(question.sets.len());
                self.masses.push((row, question.clone(), own.to_vec()));
                rest = others;
            }
        }
    }
}

/// Copies a row from the card, if it is not the one that was copied last; not numbers where the card is lost.
fn fetch(
    (kept, floats): &mut (Option<usize>, Vec<f32>),
    from: &Buffer<f32>,
    row: usize,
    stride: usize,
    len: usize,
    lost: &mut Option<CudaError>,
) {
    if *kept == Some(row) {
        return;
    }
    floats.clear();
    floats.resize(len, f32::NAN);
    if lost.is_some() {
        return;
    }
    match from.read(row * stride, floats) {
        Ok(()) => *kept = Some(row),
        Err(error) => {
            floats.fill(f32::NAN);
            *lost = Some(error);
        }
    }
}
