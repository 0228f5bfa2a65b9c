//! A model on an NVIDIA card: the same batches, pages and read-outs as the CPU kernels, computed in bfloat16.
//!
//! ```text
//! sizes.rs       what follows from a model's shape, and what the kernels can run (pure)
//! memory.rs      memory budget (pure)
//! weights.rs     files -> the card
//! load.rs        the order of loading
//! tables.rs      batch -> kernel arguments: rows, slots, attention tasks, parts (pure)
//! layout.rs      tables -> one block of bytes, padded so that recorded steps repeat (pure)
//! products.rs    the model's matrix products, one algorithm per role
//! buffers.rs     activations
//! experts.rs     activations of experts, if the model has any
//! step.rs        the forward pass as launches
//! recorded.rs    the same, recorded as graphs for steps that repeat
//! answers.rs     draws and questions, answered on the card
//! ```
//!
//! Prompt rows and generated rows use separate matrix products (see [`jury_kernels::cuda::Role`]), attention is split
//! at positions that depend on one sample alone, and everything else treats each row by itself. A row's bits therefore
//! do not depend on the rows beside it. Shared tokens are read once for all samples of a group, for many groups in one
//! launch, and merged with each sample's own by log-sum-exp (Juravsky et al., "Hydragen", 2024; Ye et al.,
//! "FlashInfer", 2025: cascade attention).
//!
//! The card computes one step while the engine reads the previous one (see `engine/flight.rs`); drawn tokens pass from
//! step to step on the card.
//!
//! After the first failure a card counts as lost: every sample on it ends with an error, and the engine must be loaded
//! again.

mod answers;
mod buffers;
mod experts;
mod layout;
mod load;
mod memory;
mod products;
mod recorded;
mod sizes;
mod step;
mod tables;
mod weights;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::Shape;
use crate::model::forward::Batch;
use crate::readout::Question;
use answers::Answers;
use buffers::Buffers;
use jury_kernels::cuda::{Bf16, Buffer, Card, CudaError, Graph, Kernels, Products};
use layout::{Block, Extent};
use products::ModelProducts;
use tables::{Cut, Tables};
use weights::Weights;
#[cfg(test)]
pub(crate) use weights::tests::layers_on_a_card;

pub use jury_kernels::cuda::{
    CardFacts, CardLimits, CudaError as CardError, DRIVER, LIBRARIES_VARIABLE, cards, measure,
    open_libraries, opened_file,
};

/// Whether there is a usable card. If NVIDIA's driver is installed but something is wrong, logs a warning.
pub fn has_card() -> bool {
    match cards() {
        Ok(cards) => !cards.is_empty(),
        // Most machines have no driver, so this is not worth a warning. If the folder is set, a card is expected.
        Err(why @ CudaError::Library { name: DRIVER, .. })
            if std::env::var_os(LIBRARIES_VARIABLE).is_none() =>
        {
            tracing::info!(%why, "no card is used, but the CPU");
            false
        }
        Err(why) => {
            tracing::warn!(%why, "no card is used, but the CPU; `jury doctor` tells more");
            false
        }
    }
}

/// A model's weights, keys and values on a card.
#[derive(Debug)]
pub(crate) struct CardModel {
    card: Card,
    shape: Shape,
    numerics: String,
    kernels: Kernels,
    products: Products,
    algorithms: ModelProducts,
    weights: Weights,
    /// Layers x slots x key heads x head size.
    keys: Buffer<Bf16>,
    /// The same layout; empty if the keys also serve as values.
    values: Buffer<Bf16>,
    pages: usize,
    buffers: Buffers,
    cut: Cut,
    memory: CardMemory,
    /// Steps are launched in these alternately: one may be in progress while the other is read.
    lanes: [Lane; 2],
    /// Lanes with a step in progress, the oldest first.
    under_way: VecDeque<usize>,
    /// The lane of the step that is being read.
    landed: usize,
    /// Recorded steps by lane and padded size; `None` after the first run, which is not recorded.
    graphs: HashMap<(usize, Extent), Option<Graph>>,
    lost: Option<CudaError>,
}

/// Memory that an engine has taken on a card, in bytes, without the CUDA context and compiled kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardMemory {
    /// Weights.
    pub weight_bytes: u64,
    /// Pages of keys and values.
    pub kv_bytes: u64,
    /// Activations and outputs.
    pub buffer_bytes: u64,
}

/// What belongs to one step until it has been read.
#[derive(Debug, Default)]
struct Lane {
    block: Block,
    answers: Answers,
}

// === impl CardModel ===

impl CardModel {
    /// The card.
    pub(crate) fn card(&self) -> &CardFacts {
        self.card.facts()
    }

    /// Names the card, the library and the kernels' version: equal values mean equal bits.
    pub(crate) fn numerics(&self) -> &str {
        &self.numerics
    }

    /// Whether a row's bits do not depend on the rows beside it.
    pub(crate) fn is_bitwise(&self) -> bool {
        self.algorithms.are_invariant()
    }

    /// Memory taken on the card.
    pub(crate) fn memory(&self) -> CardMemory {
        self.memory
    }

    /// Number of pages for keys and values.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// Bytes of one token's keys and values.
    pub(crate) fn kv_bytes_per_token(&self) -> u64 {
        2 * self.shape.kv_floats_per_token() as u64
    }

    /// Why the card is lost, if it is.
    pub(crate) fn lost(&self) -> Option<&CudaError> {
        self.lost.as_ref()
    }

    /// Starts computing the batch: storing its keys and values and answering its questions. The other lane's step may
    /// still be in progress.
    pub(crate) fn launch(&mut self, batch: &Batch) {
        let lane = 1 - self.under_way.back().unwrap_or(&self.landed);
        self.under_way.push_back(lane);
        self.lanes[lane].answers.clear();
        if self.lost.is_none()
            && let Err(error) = self.try_launch(lane, batch)
        {
            self.lose(error);
        }
    }

    /// Waits for the oldest step in progress: later queries are about that step.
    pub(crate) fn land(&mut self) {
        let Some(lane) = self.under_way.pop_front() else { return };
        if self.lost.is_none()
            && let Err(error) = self.card.bind().and_then(|()| self.lanes[lane].answers.wait())
        {
            self.lose(error);
        }
        self.landed = lane;
    }

    /// The drawn tokens, one for each question of the step; `None` if the greatest logit is not finite or nothing
    /// was drawn.
    pub(crate) fn tokens(&self) -> &[Option<u32>] {
        self.lanes[self.landed].answers.tokens()
    }

    /// Probability masses of the question's sets, if it was asked of this row; NaN if the greatest logit is not
    /// finite.
    pub(crate) fn masses(&self, row: usize, question: &Arc<Question>) -> Option<&[f64]> {
        self.lanes[self.landed].answers.masses(row, question)
    }

    /// A row's logits, padded with minus infinity. NaN if the card is lost.
    pub(crate) fn logits(&mut self, row: usize) -> &[f32] {
        let (stride, outputs) = (sizes::padded_outputs(&self.shape), self.shape.outputs);
        let from = &self.buffers.outputs[self.landed].logits;
        let answers = &mut self.lanes[self.landed].answers;
        answers.fetch_logits(from, row, stride, outputs, &mut self.lost)
    }

    /// A row's hidden state. NaN if the card is lost.
    pub(crate) fn hidden(&mut self, row: usize) -> &[f32] {
        let width = self.shape.width;
        let from = &self.buffers.outputs[self.landed].hidden_states;
        self.lanes[self.landed].answers.fetch_hidden(from, row, width, &mut self.lost)
    }

    fn lose(&mut self, error: CudaError) {
        tracing::error!(numerics = self.numerics, %error, "the card is lost");
        self.lost = Some(error);
    }

    /// Launches one step: copies the batch to the card and queues the copy of its answers, which arrive once waited
    /// for.
    fn try_launch(&mut self, lane: usize, batch: &Batch) -> Result<(), CudaError> {
        self.card.bind()?;
        let tables = Tables::of(batch, self.cut);
        let repeats = tables.repeats();
        let extent = if repeats { tables.extent().padded() } else { tables.extent() };
        if !self.buffers.fits(&tables) {
            self.forget_recorded()?;
            self.buffers.grow(&self.card, &self.shape, &tables)?;
        }
        if self.lanes[lane].block.fill(&self.card, &tables, extent, self.pages as u32)? {
            self.forget_recorded()?;
        }
        match repeats {
            true => self.pass_recorded(lane, extent)?,
            false => self.pass(lane, extent)?,
        }
        self.answer(lane, batch, &tables, extent)
    }
}

impl Drop for CardModel {
    fn drop(&mut self) {
        // A step may still be in progress, and recorded steps refer to kernels and buffers.
        let _ = self.card.bind().and_then(|()| self.card.synchronise());
        self.graphs.clear();
    }
}
