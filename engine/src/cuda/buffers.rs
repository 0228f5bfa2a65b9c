//! Activations on the card, reused between steps.

use super::experts::ExpertBuffers;
use super::memory::Capacity;
use super::sizes::{attended, dense_hidden, expanded, padded_outputs, projected, queries};
use super::tables::Tables;
use crate::model::Shape;
use jury_kernels::cuda::{Bf16, Buffer, Card, CudaError, Output, View};

/// Buffers of the forward pass.
#[derive(Debug)]
pub(crate) struct Buffers {
    capacity: Capacity,
    /// The residual stream: rows x width.
    pub(crate) stream: Buffer<f32>,
    /// Outputs that are normalised before they are added to the stream; empty in families without such norms.
    pub(crate) branch: Buffer<f32>,
    /// Rows x width.
    pub(crate) normed: Buffer<Bf16>,
    /// Rows x (queries, keys, values), or (queries, latent vector, rotated part of the key).
    pub(crate) projected: Buffer<Bf16>,
    /// Rows x queries.
    pub(crate) queries: Buffer<Bf16>,
    /// Rows x outputs of the attention heads.
    pub(crate) attended: Buffer<Bf16>,
    /// Rows x heads' values, for latent attention; otherwise empty.
    pub(crate) expanded: Buffer<Bf16>,
    /// Rows x (gates, ups).
    pub(crate) gate_up: Buffer<Bf16>,
    /// Rows x inner layer.
    pub(crate) hidden: Buffer<Bf16>,
    /// Buffers of experts; empty if there are none.
    pub(crate) experts: ExpertBuffers,
    /// Parts x attention outputs.
    pub(crate) sums: Buffer<f32>,
    /// Parts x heads x (greatest score, sum of weights).
    pub(crate) stats: Buffer<f32>,
    /// Lists of slots.
    pub(crate) slots: Buffer<u32>,
    /// Wanted rows x width, after the last norm.
    pub(crate) wanted_normed: Buffer<Bf16>,
    /// Outputs of the two steps that may be in progress.
    pub(crate) outputs: [Outputs; 2],
}

/// Outputs of a step.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Wanted rows x width, after the last norm.
    pub(crate) hidden_states: Buffer<f32>,
    /// Wanted rows x padded outputs.
    pub(crate) logits: Buffer<f32>,
    /// Drawn tokens, one for each question.
    pub(crate) tokens: Buffer<u32>,
}

// === impl Outputs ===

impl Outputs {
    fn new(card: &Card, shape: &Shape, wanted: usize) -> Result<Outputs, CudaError> {
        let what = "outputs";
        Ok(Outputs {
            hidden_states: Buffer::zeroed(card, wanted * shape.width, what)?,
            logits: Buffer::zeroed(card, wanted * padded_outputs(shape), what)?,
            tokens: Buffer::zeroed(card, wanted, what)?,
        })
    }
}

// === impl Buffers ===

impl Buffers {
    pub(crate) fn new(
        card: &Card,
        shape: &Shape,
        capacity: &Capacity,
    ) -> Result<Buffers, CudaError> {
        let outputs = || Outputs::new(card, shape, capacity.wanted);
        Buffers::with(card, shape, capacity, [outputs()?, outputs()?])
    }

    fn with(
        card: &Card,
        shape: &Shape,
        capacity: &Capacity,
        outputs: [Outputs; 2],
    ) -> Result<Buffers, CudaError> {
        let Capacity { rows, wanted, parts, slots } = *capacity;
        let what = "activations";
        let hidden = dense_hidden(shape);
        let branch = if shape.architecture.has_post_norms() { rows * shape.width } else { 0 };
        Ok(Buffers {
            capacity: *capacity,
            stream: Buffer::zeroed(card, rows * shape.width, what)?,
            branch: Buffer::zeroed(card, branch, what)?,
            normed: Buffer::zeroed(card, rows * shape.width, what)?,
            projected: Buffer::zeroed(card, rows * projected(shape), what)?,
            queries: Buffer::zeroed(card, rows * queries(shape), what)?,
            attended: Buffer::zeroed(card, rows * attended(shape), what)?,
            expanded: Buffer::zeroed(card, rows * expanded(shape), what)?,
            gate_up: Buffer::zeroed(card, rows * 2 * hidden, what)?,
            hidden: Buffer::zeroed(card, rows * hidden, what)?,
            experts: ExpertBuffers::new(card, shape, rows)?,
            sums: Buffer::zeroed(card, parts * attended(shape), what)?,
            stats: Buffer::zeroed(card, parts * shape.heads * 2, what)?,
            slots: Buffer::zeroed(card, slots, what)?,
            wanted_normed: Buffer::zeroed(card, wanted * shape.width, what)?,
            outputs,
        })
    }

    /// Whether a batch fits.
    pub(crate) fn fits(&self, tables: &Tables) -> bool {
        self.capacity.with(tables.capacity()) == self.capacity
    }

    /// Makes room for a batch; this moves buffers. The outputs of the previous step are preserved.
    pub(crate) fn grow(
        &mut self,
        card: &Card,
        shape: &Shape,
        tables: &Tables,
    ) -> Result<(), CudaError> {
        let needed = self.capacity.with(tables.capacity());
        card.synchronise()?;
        let more = |needed: usize, now: usize| if needed > now { needed + needed / 2 } else { now };
        let roomy = Capacity {
            rows: more(needed.rows, self.capacity.rows),
            wanted: more(needed.wanted, self.capacity.wanted),
            parts: more(needed.parts, self.capacity.parts),
            slots: more(needed.slots, self.capacity.slots),
        };
        let same_outputs = needed.wanted == self.capacity.wanted;
        // Old buffers are freed first. The cache's pages leave little memory, so outputs, which are largest, stay in
        // place if possible.
        let none = || Ok([Outputs::new(card, shape, 0)?, Outputs::new(card, shape, 0)?]);
        let nothing = Capacity { rows: 0, wanted: 0, parts: 0, slots: 0 };
        let former = std::mem::replace(self, Buffers::new(card, shape, &nothing)?).outputs;
        let make = |capacity: &Capacity| match same_outputs {
            true => Buffers::with(card, shape, capacity, none()?),
            false => Buffers::new(card, shape, capacity),
        };
        *self = match make(&roomy) {
            Err(CudaError::Memory { .. }) => make(&needed)?,
            made => made?,
        };
        if same_outputs {
            self.outputs = former;
            return Ok(());
        }
        for (to, from) in self.outputs.iter().zip(&former) {
            to.hidden_states.copy_from(&from.hidden_states)?;
            to.logits.copy_from(&from.logits)?;
            to.tokens.copy_from(&from.tokens)?;
        }
        card.synchronise()
    }

    /// Target of an output: the stream itself, or the branch that is normalised first.
    pub(crate) fn joined(&self, shape: &Shape) -> Output<'_> {
        match shape.architecture.has_post_norms() {
            true => Output::Floats(self.branch.view()),
            false => Output::Added(self.stream.view()),
        }
    }

    /// Inputs of attention's output projection.
    pub(crate) fn output_inputs(&self) -> View<'_, Bf16> {
        if self.expanded.len() > 0 { self.expanded.view() } else { self.attended.view() }
    }
}
