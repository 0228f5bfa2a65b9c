//! The forward pass: all rows of a step, prompt chunks and decoding samples alike, through all layers.
//!
//! ```text
//! rows -> embedding                                                  ends.rs
//!      -> layers of [norm, q k v, rotation, store, attention, output,  attend.rs
//!                    norm, gate and up, down]                        feed.rs
//!      -> norm, head -> logits                                       ends.rs
//! ```
//!
//! One job for the team: rows, weight panels and attention tiles are the pieces of its phases. What follows a
//! product row by row and column by column (bias, activation, quantisation for the next product) is done by
//! whoever computed the panel, while it is in the cache.

#![allow(unsafe_code)] // Threads write disjoint rows and columns of the buffers within a phase.

mod attend;
mod ends;
mod feed;
mod linear;

use super::attention::{AttentionShape, AttentionTile, Cluster, Scratch, tiles};
use super::kv::{KvStore, PageId, PageLayout};
use super::{Shape, Weights};
use crate::kernels::codes::{QuantRows, SharedCodes};
use crate::kernels::disjoint::Disjoint;
use crate::kernels::team::{Member, Phase, Team};
use crate::kernels::{Level, PANEL};

/// Phases of a layer, at most.
const LAYER_PHASES: usize = 8;
/// Phases outside the layers: embedding, last norm, head.
const OTHER_PHASES: usize = 3;

/// Neighbouring rows write neighbouring bytes of a page: one thread takes some of them.
const MOST_ROWS_AT_ONCE: usize = 16;

/// One token to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) token: u32,
    /// In its sequence, from 0.
    pub(crate) position: usize,
    /// Where its keys and values go.
    pub(crate) page: PageId,
    pub(crate) slot: usize,
    /// Whether the probabilities of the next token are wanted.
    pub(crate) wants_logits: bool,
}

/// What one step computes. Every row belongs to one member of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<Row>,
    pub(crate) clusters: Vec<Cluster>,
}

/// Buffers of the forward pass, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    level: Option<Level>,
    stream: Vec<f32>,
    normed: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    attended: Vec<f32>,
    hidden: Vec<f32>,
    /// Inputs of the products from rows of the stream.
    width_codes: QuantRows,
    /// Inputs of the attention's output product.
    attended_codes: QuantRows,
    /// Inputs of the feed-forward network's second product.
    hidden_codes: QuantRows,
    /// Cosines and sines of all positions met so far.
    angles: Vec<[f32; 2]>,
    scratch: Vec<ThreadScratch>,
    phases: Vec<Phase>,
    logits: Vec<f32>,
}

#[derive(Debug, Default)]
struct ThreadScratch {
    attention: Scratch,
    /// Outputs of the gate's panel, for all rows.
    gate: Vec<f32>,
}

/// Everything that threads share during a pass.
struct Pass<'a> {
    level: Level,
    shape: &'a Shape,
    weights: &'a Weights,
    batch: &'a Batch,
    positions: &'a [usize],
    /// Rows whose logits are wanted.
    wanted: &'a [usize],
    attention: AttentionShape,
    tiles: &'a [AttentionTile],
    pages: Vec<Disjoint<'a, u8>>,
    stream: Disjoint<'a, f32>,
    normed: Disjoint<'a, f32>,
    queries: Disjoint<'a, f32>,
    keys: Disjoint<'a, f32>,
    values: Disjoint<'a, f32>,
    attended: Disjoint<'a, f32>,
    hidden: Disjoint<'a, f32>,
    width_codes: SharedCodes<'a>,
    attended_codes: SharedCodes<'a>,
    hidden_codes: SharedCodes<'a>,
    logits: Disjoint<'a, f32>,
    angles: &'a [[f32; 2]],
    /// Rows that are claimed together where work on a row is small.
    row_chunk: usize,
}

/// One member's way through the phases of a pass.
struct Walk<'a> {
    phases: std::slice::Iter<'a, Phase>,
    member: Member,
    scratch: &'a mut ThreadScratch,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    /// The next phase; all members take the same ones in the same order.
    fn phase(&mut self) -> &'a Phase {
        self.phases.next().expect("a pass has no more phases than were counted")
    }
}

// === impl Forward ===

impl Forward {
    pub(crate) fn new(level: Level) -> Forward {
        Forward { level: Some(level), ..Forward::default() }
    }

    /// Floats from one row of logits to the next.
    pub(crate) fn logits_stride(shape: &Shape) -> usize {
        shape.vocabulary.next_multiple_of(PANEL)
    }

    /// The logits of the last pass, for the rows that wanted them, in order. Beyond the vocabulary: minus infinity.
    pub(crate) fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Computes the batch: stores its keys and values, leaves the logits.
    pub(crate) fn run(
        &mut self,
        team: &mut Team,
        shape: &Shape,
        weights: &Weights,
        store: &mut KvStore,
        batch: &Batch,
    ) {
        let positions: Vec<usize> = batch.rows.iter().map(|row| row.position).collect();
        let wanted: Vec<usize> =
            (0..batch.rows.len()).filter(|&row| batch.rows[row].wants_logits).collect();
        self.make_room(shape, batch.rows.len(), wanted.len(), team.members());
        self.extend_angles(weights, positions.iter().max().map_or(0, |last| last + 1));
        let attention = AttentionShape {
            layout: PageLayout::new(shape),
            kv_heads: shape.kv_heads,
            heads_per_kv: shape.heads_per_kv(),
            scale: shape.attention_scale,
        };
        let tiles = tiles(&attention, &batch.clusters, &positions, team.members());
        let pass = Pass {
            level: self.level.unwrap_or(Level::Portable),
            shape,
            weights,
            batch,
            positions: &positions,
            wanted: &wanted,
            attention,
            tiles: &tiles,
            pages: store.views(),
            stream: Disjoint::new(&mut self.stream),
            normed: Disjoint::new(&mut self.normed),
            queries: Disjoint::new(&mut self.queries),
            keys: Disjoint::new(&mut self.keys),
            values: Disjoint::new(&mut self.values),
            attended: Disjoint::new(&mut self.attended),
            hidden: Disjoint::new(&mut self.hidden),
            width_codes: SharedCodes::new(&mut self.width_codes),
            attended_codes: SharedCodes::new(&mut self.attended_codes),
            hidden_codes: SharedCodes::new(&mut self.hidden_codes),
            logits: Disjoint::new(&mut self.logits),
            angles: &self.angles,
            row_chunk: (positions.len() / (team.members() * 4)).clamp(1, MOST_ROWS_AT_ONCE),
        };
        let scratch = Disjoint::new(&mut self.scratch);
        let phases = &self.phases;
        let members = team.members();
        team.run(&|number| {
            // SAFETY: every member has its own scratch.
            let scratch = unsafe { &mut scratch.part(number..number + 1)[0] };
            let member = Member { number, count: members };
            let mut walk = Walk { phases: phases.iter(), member, scratch };
            // SAFETY: within a phase no piece reads or writes what another piece writes: pieces are rows, panels'
            // columns, or tiles' rows and heads. Phases follow each other.
            unsafe {
                pass.embed(&mut walk);
                for (index, layer) in weights.layers.iter().enumerate() {
                    pass.attend(index, layer, &mut walk);
                    let next = weights.layers.get(index + 1);
                    let then = next.map_or(&weights.head, |next| next.attention.first_matrix());
                    pass.feed(layer, then, &mut walk);
                }
                pass.head(&mut walk);
            }
        });
    }

    fn make_room(&mut self, shape: &Shape, rows: usize, wanted: usize, members: usize) {
        let (queries, keys) = (shape.heads * shape.head_size(), shape.kv_heads * shape.head_size());
        self.stream.resize(rows * shape.width, 0.0);
        self.normed.resize(rows * shape.width, 0.0);
        self.queries.resize(rows * queries, 0.0);
        self.keys.resize(rows * keys, 0.0);
        self.values.resize(rows * keys, 0.0);
        self.attended.resize(rows * queries, 0.0);
        self.hidden.resize(rows * shape.hidden, 0.0);
        self.width_codes.resize(rows, shape.width);
        self.attended_codes.resize(rows, queries);
        self.hidden_codes.resize(rows, shape.hidden);
        self.logits.resize(wanted * Self::logits_stride(shape), 0.0);
        self.scratch.resize_with(members, ThreadScratch::default);
        self.phases.clear();
        self.phases.resize_with(shape.layers * LAYER_PHASES + OTHER_PHASES, Phase::default);
    }

    /// Angles of positions are computed once, in double precision.
    fn extend_angles(&mut self, weights: &Weights, positions: usize) {
        let pairs = weights.rope_frequencies.len();
        for position in self.angles.len() / pairs..positions {
            self.angles.extend(weights.rope_frequencies.iter().map(|frequency| {
                let angle = position as f64 * frequency;
                [libm::cos(angle) as f32, libm::sin(angle) as f32]
            }));
        }
    }
}

fn span(index: usize, width: usize) -> std::ops::Range<usize> {
    index * width..(index + 1) * width
}
