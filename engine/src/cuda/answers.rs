//! Answers to a step's questions: the card sums the probabilities of sets of tokens, and copies back what will
//! certainly be needed, together with the drawn tokens. Other logits and hidden states stay on the card until
//! requested.

use std::ops::Range;
use std::sync::Arc;

use super::CardModel;
use super::layout::Extent;
use super::sizes::padded_outputs;
use super::tables::Tables;
use crate::model::forward::{Batch, Forward};
use crate::outputs::Ask;
use crate::readout::Question;
use jury_kernels::cuda::{Buffer, Card, CudaError, Mark, Pinned};

/// The kernel's result if the greatest logit is not finite.
const NO_TOKEN: u32 = u32::MAX;

/// The answers of a step, in transit or arrived.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Where the card writes the probability masses of sets.
    masses: Option<Buffer<f64>>,
    /// Where answers arrive in this process's memory.
    pinned: Option<(Pinned, usize)>,
    /// Reached when they have arrived.
    mark: Option<Mark>,
    asks: Vec<Ask>,
    arrivals: Arrivals,
    tokens: Vec<Option<u32>>,
    /// By row and question.
    weighed: Vec<(usize, Arc<Question>, Vec<f64>)>,
    /// Logits and hidden states of rows that have arrived, and the last ones fetched on demand.
    logits: Vec<(usize, Vec<f32>)>,
    hidden: Vec<(usize, Vec<f32>)>,
}

/// Layout of the pinned memory, in bytes.
#[derive(Debug, Default)]
struct Arrivals {
    masses: Range<usize>,
    tokens: Range<usize>,
    logits: Vec<(usize, Range<usize>)>,
    hidden: Vec<(usize, Range<usize>)>,
    bytes: usize,
}

// === impl CardModel ===

impl CardModel {
    /// Queues the answers to a step's questions, and copies of what will certainly be needed.
    pub(super) fn answer(
        &mut self,
        lane: usize,
        batch: &Batch,
        tables: &Tables,
        extent: Extent,
    ) -> Result<(), CudaError> {
        let (draws, sums) = (tables.draws.len(), tables.sets.len());
        let (stride, width) = (padded_outputs(&self.shape), self.shape.width);
        let outputs = &self.buffers.outputs[lane];
        let lane = &mut self.lanes[lane];
        let Some(views) = lane.block.answers(&extent, tables) else { return Ok(()) };
        let sizes = [stride, self.shape.outputs];
        let logits = outputs.logits.view();
        let answers = &mut lane.answers;
        answers.asks.clone_from(&batch.asks);
        let arrivals = Arrivals::of(batch, tables, self.shape.outputs, width);
        let (pinned, masses) = answers.make_room(&self.card, arrivals.bytes, sums)?;
        let sets = [views.sets, views.members];
        self.kernels.masses(logits, sizes, views.questions, sets, masses.view())?;
        outputs.tokens.read_pinned(0..draws, pinned, arrivals.tokens.start)?;
        masses.read_pinned(0..sums, pinned, arrivals.masses.start)?;
        for (row, to) in &arrivals.logits {
            let from = row * stride..row * stride + self.shape.outputs;
            outputs.logits.read_pinned(from, pinned, to.start)?;
        }
        for (row, to) in &arrivals.hidden {
            let from = row * width..(row + 1) * width;
            outputs.hidden_states.read_pinned(from, pinned, to.start)?;
        }
        answers.arrivals = arrivals;
        answers.mark = Some(self.card.mark()?);
        Ok(())
    }
}

// === impl Arrivals ===

impl Arrivals {
    /// Prompt rows need logits and states; rows of samples need what they ask for.
    fn of(batch: &Batch, tables: &Tables, outputs: usize, width: usize) -> Arrivals {
        let mut arrivals = Arrivals::default();
        arrivals.masses = arrivals.take(tables.sets.len() * size_of::<f64>());
        arrivals.tokens = arrivals.take(tables.draws.len() * size_of::<u32>());
        for row in 0..tables.wanted.len() {
            let of_prompt = row >= batch.asks.len();
            if of_prompt {
                let to = arrivals.take(outputs * size_of::<f32>());
                arrivals.logits.push((row, to));
            }
            if of_prompt || matches!(batch.asks[row], Ask::Hidden) {
                let to = arrivals.take(width * size_of::<f32>());
                arrivals.hidden.push((row, to));
            }
        }
        arrivals
    }

    fn take(&mut self, bytes: usize) -> Range<usize> {
        let start = self.bytes;
        self.bytes = (start + bytes).next_multiple_of(size_of::<f64>());
        start..start + bytes
    }
}

// === impl Answers ===

impl Answers {
    pub(super) fn clear(&mut self) {
        *self = Answers {
            masses: self.masses.take(),
            pinned: self.pinned.take(),
            ..Answers::default()
        };
    }

    /// Waits for the answers and stores them.
    pub(super) fn wait(&mut self) -> Result<(), CudaError> {
        if let Some(mark) = self.mark.take() {
            mark.wait()?;
        }
        let Some((pinned, _)) = &mut self.pinned else { return Ok(()) };
        let bytes = pinned.bytes();
        let arrivals = &self.arrivals;
        let floats = |range: &Range<usize>| -> Vec<f32> {
            bytes[range.clone()]
                .as_chunks()
                .0
                .iter()
                .map(|&four| f32::from_ne_bytes(four))
                .collect()
        };
        let rows = |list: &[(usize, Range<usize>)]| -> Vec<(usize, Vec<f32>)> {
            list.iter().map(|(row, range)| (*row, floats(range))).collect()
        };
        (self.logits, self.hidden) = (rows(&arrivals.logits), rows(&arrivals.hidden));
        let tokens = bytes[arrivals.tokens.clone()].as_chunks().0.iter();
        let mut masses = bytes[arrivals.masses.clone()].as_chunks().0.iter();
        for ((row, ask), &token) in self.asks.iter().enumerate().zip(tokens) {
            let token = u32::from_ne_bytes(token);
            let draws = matches!(ask, Ask::Token(..));
            self.tokens.push((draws && token != NO_TOKEN).then_some(token));
            if let Ask::Masses(question) = ask {
                let own = masses.by_ref().take(question.sets.len());
                let own = own.map(|&eight| f64::from_ne_bytes(eight)).collect();
                self.weighed.push((row, question.clone(), own));
            }
        }
        Ok(())
    }

    pub(super) fn tokens(&self) -> &[Option<u32>] {
        &self.tokens
    }

    pub(super) fn masses(&self, row: usize, question: &Arc<Question>) -> Option<&[f64]> {
        let is_it = |(other, asked, _): &&(usize, Arc<Question>, Vec<f64>)| {
            *other == row && Arc::ptr_eq(asked, question)
        };
        self.weighed.iter().find(is_it).map(|(_, _, masses)| masses.as_slice())
    }

    /// A row's logits, padded with minus infinity to the padded length of the CPU kernels.
    pub(super) fn fetch_logits(
        &mut self,
        from: &Buffer<f32>,
        row: usize,
        stride: usize,
        outputs: usize,
        lost: &mut Option<CudaError>,
    ) -> &[f32] {
        let logits = fetch(&mut self.logits, from, row, row * stride..row * stride + outputs, lost);
        logits.resize(Forward::padded(outputs), f32::NEG_INFINITY);
        logits
    }

    pub(super) fn fetch_hidden(
        &mut self,
        from: &Buffer<f32>,
        row: usize,
        width: usize,
        lost: &mut Option<CudaError>,
    ) -> &[f32] {
        fetch(&mut self.hidden, from, row, row * width..(row + 1) * width, lost)
    }

    fn make_room(
        &mut self,
        card: &Card,
        bytes: usize,
        sums: usize,
    ) -> Result<(&mut Pinned, &Buffer<f64>), CudaError> {
        let wanted = bytes.max(1);
        if self.pinned.as_ref().is_none_or(|(_, room)| *room < wanted) {
            self.pinned = None;
            let room = wanted.next_power_of_two();
            self.pinned = Some((Pinned::new(card, room)?, room));
        }
        if self.masses.as_ref().is_none_or(|masses| masses.len() < sums) {
            self.masses = None;
            self.masses = Some(Buffer::new(card, sums.next_power_of_two().max(64), "answers")?);
        }
        match (&mut self.pinned, &self.masses) {
            (Some((pinned, _)), Some(masses)) => Ok((pinned, masses)),
            _ => Err(CudaError::Unsupported("no room for answers".to_owned())),
        }
    }
}

/// What has arrived for a row, or a copy from the card; NaN if the card is lost.
fn fetch<'a>(
    here: &'a mut Vec<(usize, Vec<f32>)>,
    from: &Buffer<f32>,
    row: usize,
    range: Range<usize>,
    lost: &mut Option<CudaError>,
) -> &'a mut Vec<f32> {
    let found = here.iter().position(|(other, _)| *other == row);
    let index = found.unwrap_or_else(|| {
        let mut floats = vec![f32::NAN; range.len()];
        if lost.is_none()
            && let Err(error) = from.read(range.start, &mut floats)
        {
            floats.fill(f32::NAN);
            *lost = Some(error);
        }
        here.push((row, floats));
        here.len() - 1
    });
    &mut here[index].1
}
