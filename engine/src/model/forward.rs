//! The forward pass: all rows of a step, prompt chunks and decoding samples alike, through all layers.
//!
//! ```text
//! rows -> embedding                                                  ends.rs
//!      -> layers of [norm, q k v, rotation, store, attention, output,  attend.rs, or latent.rs between norm and output
//!                    norm, gate and up, down]                        feed.rs, or experts.rs after the norm
//!         (the last one goes on after attention with the rows whose logits are wanted)
//!      -> norm, head -> logits                                       ends.rs
//! ```
//!
//! Adapters of rows: adapt.rs. Matrices by panels: linear.rs; how products are cut into pieces: grid.rs. Rows between products: buffers.rs. How a
//! branch joins the stream: branch.rs.
//!
//! One job for the thread pool: rows, weight panels and attention tiles are the pieces of its phases. What follows a
//! product row by row and column by column (bias, activation, quantisation for the next product) is done by
//! whoever computed the panel, while it is in the cache. Buffers are lent phase by phase (see `kernels/src/cpu/shared.rs`): whoever
//! does a piece has its rows or its columns for as long.

mod adapt;
mod angles;
mod attend;
mod branch;
mod buffers;
mod ends;
mod experts;
mod feed;
mod grid;
mod latent;
mod linear;

use super::attention::{AttentionShape, AttentionTile, Cluster, KeyShift, Scratch, tiles};
use super::kv::{KvStore, PageId, PageLayout};
use super::weights::InputScales;
use super::{Shape, Weights};
use crate::outputs::Ask;
pub(crate) use adapt::AdaptedRows;
use adapt::Strip;
pub(crate) use angles::Angles;
use branch::Joining;
pub(in crate::model) use buffers::Inputs;
pub(crate) use buffers::SharedInputs;
use experts::{ExpertBuffers, SharedExperts};
use jury_kernels::cpu::shared::{Rows, SharedPages, SharedRows};
use jury_kernels::cpu::thread_pool::{Phases, PoolThread, ThreadPool};
use jury_kernels::cpu::{PANEL, SimdLevel};
use latent::{LatentBuffers, SharedLatent};
use linear::PanelScratch;

/// Phases of a layer with heads and a dense network.
const LAYER_PHASES: usize = 10;
/// Phases outside the layers: embedding, leaving rows, last norm, head.
const OTHER_PHASES: usize = 4;

/// Neighbouring rows write neighbouring bytes of a page: one thread takes some of them.
const MOST_ROWS_AT_ONCE: usize = 16;

/// One token to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// With [`Row::DRAWN`]: the question of the step before whose answer it is.
    pub(crate) token: u32,
    /// In its sequence, from 0.
    pub(crate) position: usize,
    /// Where its keys and values go.
    pub(crate) page: PageId,
    pub(crate) slot: usize,
    /// Whether the probabilities of the next token are wanted.
    pub(crate) wants_logits: bool,
}

/// What one step computes. Every row belongs to one sequence of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<Row>,
    /// The first rows, which samples generate; those of prompts follow.
    pub(crate) sample_rows: usize,
    /// What is asked of the first rows that want their logits, one for each; of the others all is wanted.
    pub(crate) asks: Vec<Ask>,
    pub(crate) clusters: Vec<Cluster>,
    /// Rows that adapters change, ascending, each once at most.
    pub(crate) adapted: Vec<AdaptedRows>,
}

/// Buffers of the forward pass, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    level: Option<SimdLevel>,
    stream: Rows<f32>,
    branch: Rows<f32>,
    normed: Inputs,
    queries: Rows<f32>,
    keys: Rows<f32>,
    values: Rows<f32>,
    attended: Inputs,
    latent: LatentBuffers,
    hidden: Inputs,
    experts: ExpertBuffers,
    low: Rows<f32>,
    angles: Angles,
    local_angles: Angles,
    scratch: Vec<ThreadScratch>,
    phases: Phases,
    logits: Rows<f32>,
}

#[derive(Debug, Default)]
struct ThreadScratch {
    attention: Scratch,
    panel: PanelScratch,
    /// Outputs of the gate's panel, for all rows.
    gate: Vec<f32>,
    /// Products with an adapter's A.
    low: Vec<f32>,
}

/// Everything that threads share during a pass.
struct Pass<'a> {
    level: SimdLevel,
    shape: &'a Shape,
    weights: &'a Weights,
    batch: &'a Batch,
    positions: &'a [usize],
    /// Rows whose logits are wanted.
    wanted: &'a [usize],
    attention: AttentionShape,
    tiles: &'a [AttentionTile],
    pages: SharedPages<'a>,
    /// The residual stream: rows x width.
    stream: SharedRows<'a, f32>,
    /// Outputs that are normed before they join the stream: rows x width.
    branch: SharedRows<'a, f32>,
    /// Rows of the stream, normed.
    normed: SharedInputs<'a>,
    /// Rows x heads x key size.
    queries: SharedRows<'a, f32>,
    /// Rows x key heads x key size; for latent attention, latent vector and rotated part.
    keys: SharedRows<'a, f32>,
    /// Rows x key heads x value size; empty for latent attention.
    values: SharedRows<'a, f32>,
    /// Rows x heads x value size.
    attended: SharedInputs<'a>,
    latent: SharedLatent<'a>,
    /// Rows x inner layer of dense networks.
    hidden: SharedInputs<'a>,
    experts: SharedExperts<'a>,
    /// Products with adapters' A: rows x 3 projections x `adapter_width`.
    low: SharedRows<'a, f32>,
    /// Room for an adapter's rank; 0 when no row has one.
    adapter_width: usize,
    /// Adapted rows; and of those whose logits are wanted, by their new numbers.
    strips: &'a [Vec<Strip<'a>>; 2],
    logits: SharedRows<'a, f32>,
    angles: &'a Angles,
    /// Of layers that see a window, where they differ.
    local_angles: Option<&'a Angles>,
    /// Rows that are claimed together where work on a row is small.
    row_chunk: usize,
}

/// One thread's way through the phases of a pass.
struct Walk<'a> {
    thread: PoolThread<'a>,
    scratch: &'a mut ThreadScratch,
    /// Rows that are computed: all, and in the last layer, once keys and values are stored, those that are wanted.
    rows: usize,
    /// Whether the others have left.
    rows_left: bool,
}

// === impl Row ===

impl Row {
    /// Says that the token is on a card only.
    pub(crate) const DRAWN: u32 = 1 << 31;
}

// === impl Forward ===

impl Forward {
    pub(crate) fn new(level: SimdLevel) -> Forward {
        Forward { level: Some(level), ..Forward::default() }
    }

    /// Floats from one row of logits to the next.
    pub(crate) fn logits_stride(shape: &Shape) -> usize {
        Self::padded(shape.outputs)
    }

    /// So many logits and what pads them.
    pub(crate) fn padded(outputs: usize) -> usize {
        outputs.next_multiple_of(PANEL)
    }

    /// The logits of the last pass, for the rows that wanted them, in order. Beyond the head's outputs: minus infinity.
    pub(crate) fn logits(&self) -> &[f32] {
        self.logits.as_slice()
    }

    /// The rows that gave [`Forward::logits`], after the last norm, the model's width each; further rows mean nothing.
    pub(crate) fn last_hidden(&self) -> &[f32] {
        // The last phases move the wanted rows to the front.
        self.normed.floats()
    }

    /// Computes the batch: stores its keys and values, leaves the logits.
    pub(crate) fn run(
        &mut self,
        pool: &mut ThreadPool,
        shape: &Shape,
        weights: &Weights,
        store: &mut KvStore,
        batch: &Batch,
    ) {
        let positions: Vec<usize> = batch.rows.iter().map(|row| row.position).collect();
        let wanted: Vec<usize> =
            (0..batch.rows.len()).filter(|&row| batch.rows[row].wants_logits).collect();
        self.make_room(
            shape,
            &weights.input_scales,
            [batch.rows.len(), wanted.len()],
            pool.threads(),
        );
        let widths = batch.adapted.iter().map(|adapted| adapted.adapter.width());
        let adapter_width = widths.max().unwrap_or(0);
        let low_width = adapter_width * adapt::MOST_BESIDE;
        self.low.resize(if low_width > 0 { batch.rows.len() } else { 0 }, low_width);
        let strips = adapt::strips(&batch.adapted, &wanted);
        let length = KeyShift::angles_for(positions.iter().max().map_or(0, |last| last + 1));
        self.angles.extend(&weights.rope_frequencies, shape.rope.magnitude(), length);
        if let Some(frequencies) = &weights.local_rope_frequencies {
            self.local_angles.extend(frequencies, 1.0, length);
        }
        let attention = AttentionShape {
            layout: PageLayout::new(shape),
            kv_heads: shape.kv_heads,
            heads_per_kv: shape.heads_per_kv(),
            scale: shape.attention_scale,
            softcap: shape.attention_softcap,
        };
        let tiles = tiles(&attention, &batch.clusters, &positions, pool.threads());
        let phases = &self.phases;
        let pass = Pass {
            level: self.level.unwrap_or(SimdLevel::Portable),
            shape,
            weights,
            batch,
            positions: &positions,
            wanted: &wanted,
            attention,
            tiles: &tiles,
            pages: store.share(phases),
            stream: self.stream.share(phases),
            branch: self.branch.share(phases),
            normed: self.normed.share(phases),
            queries: self.queries.share(phases),
            keys: self.keys.share(phases),
            values: self.values.share(phases),
            attended: self.attended.share(phases),
            latent: self.latent.share(phases),
            hidden: self.hidden.share(phases),
            experts: self.experts.share(phases),
            low: self.low.share(phases),
            adapter_width,
            strips: &strips,
            logits: self.logits.share(phases),
            angles: &self.angles,
            local_angles: weights.local_rope_frequencies.as_ref().map(|_| &self.local_angles),
            row_chunk: (positions.len() / (pool.threads() * 4)).clamp(1, MOST_ROWS_AT_ONCE),
        };
        pool.run_with(&mut self.scratch, |number, scratch| {
            let (thread, rows) = (phases.thread(number), batch.rows.len());
            let mut walk = Walk { thread, scratch, rows, rows_left: false };
            pass.embed(&mut walk);
            let mut joining = Joining::Done;
            for (index, layer) in weights.layers.iter().enumerate() {
                pass.attend(index, layer, joining, &mut walk);
                let next = weights.layers.get(index + 1);
                let then = next.map_or(&weights.head, |next| next.attention.first_matrix());
                pass.feed(index, then, &mut walk);
                joining = layer.after_feed();
            }
            pass.head(joining, &mut walk);
        });
    }

    fn make_room(
        &mut self,
        shape: &Shape,
        scales: &InputScales,
        [rows, wanted]: [usize; 2],
        threads: usize,
    ) {
        let values = if shape.latent.is_some() { 0 } else { shape.kv_heads * shape.value_size };
        let branch = if shape.architecture.has_post_norms() { shape.width } else { 0 };
        self.stream.resize(rows, shape.width);
        self.branch.resize(rows, branch);
        self.normed.resize(rows, shape.width, scales.normed);
        self.queries.resize(rows, shape.heads * shape.key_size);
        self.keys.resize(rows, shape.kv_heads * shape.key_size);
        self.values.resize(rows, values);
        self.attended.resize(rows, shape.heads * shape.value_size, scales.attended);
        self.latent.make_room(shape, scales, rows);
        self.hidden.resize(rows, shape.hidden, scales.hidden);
        self.experts.make_room(shape, scales, rows);
        self.logits.resize(wanted, Self::logits_stride(shape));
        self.scratch.resize_with(threads, ThreadScratch::default);
        let more = shape.latent.map_or(0, |_| latent::PHASES)
            + shape.experts.as_ref().map_or(0, |_| experts::PHASES);
        let phases = shape.layers * (LAYER_PHASES + more + adapt::PHASES) + OTHER_PHASES;
        self.phases.restart(phases, threads);
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// What a layer turns queries and keys by.
    fn angles(&self, layer: usize) -> &Angles {
        match self.local_angles {
            Some(local) if self.shape.window(layer).is_some() => local,
            _ => self.angles,
        }
    }
}

fn span(index: usize, width: usize) -> std::ops::Range<usize> {
    index * width..(index + 1) * width
}
