//! The forward pass: all rows of a step, prompt chunks and decoding samples alike, through all layers.
//!
//! ```text
//! rows -> embedding -> layers of [norm, q k v, rotation, store, attention, output, norm, gate up, down] -> norm -> head
//! ```
//!
//! One job for the team: rows, weight panels and attention tiles are the pieces of its phases.

#![allow(unsafe_code)] // Threads write disjoint rows and columns of the buffers within a phase.

use super::attention::{AttentionLayer, AttentionShape, Cluster, Scratch, tiles};
use super::kv::{KvStore, PAGE_TOKENS, PageId, PageLayout};
use super::weights::{Attention, Feed, Gated, Linear};
use super::{Shape, Weights};
use crate::kernels::codes::{QuantRows, QuantView};
use crate::kernels::disjoint::Disjoint;
use crate::kernels::packed::{Input, Packed};
use crate::kernels::rows::{QuantRow, quantise, rms_norm, rotate, silu_times};
use crate::kernels::team::{Phase, Team};
use crate::kernels::{GROUP, Level, PANEL};

/// Phases of a layer.
const LAYER_PHASES: usize = 10;
/// Phases outside the layers: embedding, last norm, head.
const OTHER_PHASES: usize = 3;

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
    codes: QuantRows,
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
    positions: Vec<usize>,
    pages: Vec<Disjoint<'a, f32>>,
    layout: PageLayout,
    stream: Disjoint<'a, f32>,
    normed: Disjoint<'a, f32>,
    queries: Disjoint<'a, f32>,
    keys: Disjoint<'a, f32>,
    values: Disjoint<'a, f32>,
    attended: Disjoint<'a, f32>,
    hidden: Disjoint<'a, f32>,
    codes: Disjoint<'a, i8>,
    code_scales: Disjoint<'a, f32>,
    code_sums: Disjoint<'a, i32>,
    angles: &'a [[f32; 2]],
    phases: &'a [Phase],
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
        let rows = batch.rows.len();
        let members = team.members();
        let (queries, keys) = (shape.heads * shape.head_size(), shape.kv_heads * shape.head_size());
        let widest = shape.width.max(queries).max(shape.hidden);
        self.stream.resize(rows * shape.width, 0.0);
        self.normed.resize(rows * shape.width, 0.0);
        self.queries.resize(rows * queries, 0.0);
        self.keys.resize(rows * keys, 0.0);
        self.values.resize(rows * keys, 0.0);
        self.attended.resize(rows * queries, 0.0);
        self.hidden.resize(rows * shape.hidden, 0.0);
        self.codes.resize(rows, widest);
        self.scratch.resize_with(members, ThreadScratch::default);
        self.phases.clear();
        self.phases.resize_with(shape.layers * LAYER_PHASES + OTHER_PHASES, Phase::default);
        self.angles.clear();
        for row in &batch.rows {
            self.angles.extend(weights.rope_frequencies.iter().map(|frequency| {
                let angle = row.position as f64 * frequency;
                [libm::cos(angle) as f32, libm::sin(angle) as f32]
            }));
        }
        let wanted: Vec<usize> = (0..rows).filter(|&row| batch.rows[row].wants_logits).collect();
        self.logits.resize(wanted.len() * Self::logits_stride(shape), 0.0);
        let layout = PageLayout::new(shape);
        let attention = AttentionShape {
            layout,
            kv_heads: shape.kv_heads,
            heads_per_kv: shape.heads_per_kv(),
            scale: shape.attention_scale,
        };
        let positions: Vec<usize> = batch.rows.iter().map(|row| row.position).collect();
        let tiles = tiles(&attention, &batch.clusters, &positions, members);
        let pass = Pass {
            level: self.level.unwrap_or(Level::Portable),
            shape,
            weights,
            batch,
            positions,
            pages: store.views(),
            layout,
            stream: Disjoint::new(&mut self.stream),
            normed: Disjoint::new(&mut self.normed),
            queries: Disjoint::new(&mut self.queries),
            keys: Disjoint::new(&mut self.keys),
            values: Disjoint::new(&mut self.values),
            attended: Disjoint::new(&mut self.attended),
            hidden: Disjoint::new(&mut self.hidden),
            codes: Disjoint::new(&mut self.codes.codes),
            code_scales: Disjoint::new(&mut self.codes.scales),
            code_sums: Disjoint::new(&mut self.codes.sums),
            angles: &self.angles,
            phases: &self.phases,
        };
        let scratch = Disjoint::new(&mut self.scratch);
        let logits = Disjoint::new(&mut self.logits);
        team.run(&|member| {
            // SAFETY: every member has its own scratch.
            let scratch = unsafe { &mut scratch.part(member..member + 1)[0] };
            // SAFETY: within a phase no piece reads or writes what another piece writes: pieces are rows, panels'
            // columns, or tiles' rows and heads. Phases follow each other.
            unsafe {
                pass.embed();
                for layer in 0..shape.layers {
                    pass.attend(layer, &tiles, attention, scratch);
                    pass.feed(layer, scratch);
                }
                pass.head(&wanted, &logits);
            }
        });
    }
}

// === impl Pass ===

// Safety of all methods: called by every member that takes part, in the same order. A member that comes late runs
// through phases that are over without touching anything, so views are made inside claimed pieces only.
impl Pass<'_> {
    fn rows(&self) -> usize {
        self.batch.rows.len()
    }

    unsafe fn embed(&self) {
        self.phases[self.shape.layers * LAYER_PHASES].run(self.rows(), |row| {
            // SAFETY: the piece is this row.
            let stream = unsafe { self.stream.part(span(row, self.shape.width)) };
            self.weights.embedding.row(self.batch.rows[row].token, stream);
        });
    }

    unsafe fn attend(
        &self,
        layer: usize,
        tiles: &[super::attention::AttentionTile],
        attention: AttentionShape,
        scratch: &mut ThreadScratch,
    ) {
        let (shape, weights) = (self.shape, &self.weights.layers[layer]);
        let width = shape.width;
        let query_width = shape.heads * shape.head_size();
        let Attention::Heads { query, key, value, output } = &weights.attention else {
            unreachable!("`runnable` refuses latent attention");
        };
        let (queries, keys) = (query.matrix.panels(), key.matrix.panels());
        let all = queries + keys + value.matrix.panels();
        let phase = |number: usize| &self.phases[layer * LAYER_PHASES + number];
        // SAFETY (whole body): see `Pass`.
        unsafe {
            phase(0).run(self.rows(), |row| self.normalise(row, &weights.attention_norm));
            phase(1).run(all, |panel| {
                let (linear, panel, out) = if panel < queries {
                    (query, panel, &self.queries)
                } else if panel < queries + keys {
                    (key, panel - queries, &self.keys)
                } else {
                    (value, panel - queries - keys, &self.values)
                };
                let input = self.input(self.rows(), width, &self.normed);
                self.store_panel(linear, panel, &input, out);
            });
            phase(2).run(self.rows(), |row| self.rotate_and_store(layer, row));
            phase(3).run(tiles.len(), |tile| {
                let run = AttentionLayer {
                    level: self.level,
                    shape: attention,
                    layer,
                    clusters: &self.batch.clusters,
                    positions: &self.positions,
                    pages: &self.pages,
                    queries: self.queries.read(0..self.rows() * query_width),
                    out: &self.attended,
                };
                run.run(&tiles[tile], &mut scratch.attention);
            });
            phase(4).run(self.rows(), |row| {
                let attended = self.attended.read(span(row, query_width));
                quantise(self.level, attended, self.quant_row(row, query_width));
            });
            phase(5).run(output.panels(), |panel| {
                let input = self.input(self.rows(), query_width, &self.attended);
                self.add_panel(output, panel, &input);
            });
        }
    }

    unsafe fn feed(&self, layer: usize, scratch: &mut ThreadScratch) {
        let weights = &self.weights.layers[layer];
        let Feed::Dense(gated) = &weights.feed else {
            unreachable!("`runnable` refuses experts");
        };
        let hidden = self.shape.hidden;
        let phase = |number: usize| &self.phases[layer * LAYER_PHASES + number];
        // SAFETY (whole body): see `Pass`.
        unsafe {
            phase(6).run(self.rows(), |row| self.normalise(row, &weights.feed_norm));
            phase(7).run(gated.gate.panels(), |panel| {
                let input = self.input(self.rows(), self.shape.width, &self.normed);
                self.gate_panel(gated, panel, &input, &mut scratch.gate);
            });
            phase(8).run(self.rows(), |row| {
                let values = self.hidden.read(span(row, hidden));
                quantise(self.level, values, self.quant_row(row, hidden));
            });
            phase(9).run(gated.down.panels(), |panel| {
                let input = self.input(self.rows(), hidden, &self.hidden);
                self.add_panel(&gated.down, panel, &input);
            });
        }
    }

    unsafe fn head(&self, wanted: &[usize], logits: &Disjoint<'_, f32>) {
        let (width, head) = (self.shape.width, &self.weights.head);
        let stride = Forward::logits_stride(self.shape);
        let first_phase = self.shape.layers * LAYER_PHASES + 1;
        // SAFETY (whole body): see `Pass`; the wanted rows move to the front of the codes.
        unsafe {
            self.phases[first_phase].run(wanted.len(), |index| {
                let stream = self.stream.read(span(wanted[index], width));
                let normed = self.normed.part(span(index, width));
                let epsilon = self.shape.norm_epsilon;
                rms_norm(self.level, stream, &self.weights.output_norm, epsilon, normed);
                quantise(self.level, normed, self.quant_row(index, width));
            });
            self.phases[first_phase + 1].run(head.panels(), |panel| {
                let input = self.input(wanted.len(), width, &self.normed);
                head.panel(self.level, panel, &input, |first, count, tile| {
                    let width = PANEL.min(head.outputs - panel * PANEL);
                    for (row, tile) in tile.iter().enumerate().take(count) {
                        let at = (first + row) * stride + panel * PANEL;
                        let out = logits.part(at..at + PANEL);
                        out[..width].copy_from_slice(&tile[..width]);
                        out[width..].fill(f32::NEG_INFINITY);
                    }
                });
            });
        }
    }

    /// Norm and quantisation of a row of the residual stream.
    unsafe fn normalise(&self, row: usize, weight: &[f32]) {
        // SAFETY: the piece is this row.
        unsafe {
            let stream = self.stream.read(span(row, self.shape.width));
            let normed = self.normed.part(span(row, self.shape.width));
            rms_norm(self.level, stream, weight, self.shape.norm_epsilon, normed);
            quantise(self.level, normed, self.quant_row(row, self.shape.width));
        }
    }

    /// One row's place among the codes, for rows of `inputs` elements.
    unsafe fn quant_row(&self, row: usize, inputs: usize) -> QuantRow<'_> {
        let groups = inputs / GROUP;
        // SAFETY: the caller's piece is this row.
        unsafe {
            QuantRow {
                codes: self.codes.part(span(row, inputs)),
                scales: self.code_scales.part(span(row, groups)),
                sums: self.code_sums.part(span(row, groups * 2)),
            }
        }
    }

    unsafe fn input<'b>(
        &'b self,
        rows: usize,
        inputs: usize,
        floats: &'b Disjoint<'_, f32>,
    ) -> Input<'b> {
        let groups = inputs / GROUP;
        // SAFETY: rows were written in an earlier phase.
        unsafe {
            Input {
                rows,
                codes: QuantView {
                    inputs,
                    codes: self.codes.read(0..rows * inputs),
                    scales: self.code_scales.read(0..rows * groups),
                    sums: self.code_sums.read(0..rows * groups * 2),
                },
                floats: floats.read(0..rows * inputs),
            }
        }
    }

    unsafe fn store_panel(
        &self,
        linear: &Linear,
        panel: usize,
        input: &Input<'_>,
        out: &Disjoint<'_, f32>,
    ) {
        let matrix = &linear.matrix;
        let width = PANEL.min(matrix.outputs - panel * PANEL);
        matrix.panel(self.level, panel, input, |first, count, tile| {
            for (row, tile) in tile.iter().enumerate().take(count) {
                let at = (first + row) * matrix.outputs + panel * PANEL;
                // SAFETY: this panel's columns are this thread's.
                let out = unsafe { out.part(at..at + width) };
                match &linear.bias {
                    None => out.copy_from_slice(&tile[..width]),
                    Some(bias) => {
                        for column in 0..width {
                            out[column] = tile[column] + bias[panel * PANEL + column];
                        }
                    }
                }
            }
        });
    }

    /// Adds a panel's outputs to the residual stream.
    unsafe fn add_panel(&self, matrix: &Packed, panel: usize, input: &Input<'_>) {
        let width = PANEL.min(matrix.outputs - panel * PANEL);
        matrix.panel(self.level, panel, input, |first, count, tile| {
            for (row, tile) in tile.iter().enumerate().take(count) {
                let at = (first + row) * matrix.outputs + panel * PANEL;
                // SAFETY: this panel's columns are this thread's.
                let out = unsafe { self.stream.part(at..at + width) };
                for column in 0..width {
                    out[column] += tile[column];
                }
            }
        });
    }

    /// silu(gate) * up for one panel.
    unsafe fn gate_panel(
        &self,
        gated: &Gated,
        panel: usize,
        input: &Input<'_>,
        gate: &mut Vec<f32>,
    ) {
        let hidden = self.shape.hidden;
        let width = PANEL.min(hidden - panel * PANEL);
        gate.resize(input.rows * PANEL, 0.0);
        gated.gate.panel(self.level, panel, input, |first, count, tile| {
            for row in 0..count {
                gate[(first + row) * PANEL..][..PANEL].copy_from_slice(&tile[row]);
            }
        });
        gated.up.panel(self.level, panel, input, |first, count, tile| {
            for row in 0..count {
                let gate = &mut gate[(first + row) * PANEL..][..PANEL];
                silu_times(self.level, gate, &tile[row]);
                let at = (first + row) * hidden + panel * PANEL;
                // SAFETY: this panel's columns are this thread's.
                unsafe { self.hidden.part(at..at + width) }.copy_from_slice(&gate[..width]);
            }
        });
    }

    /// Turns a row's queries and keys to its position, and puts keys and values into its page.
    unsafe fn rotate_and_store(&self, layer: usize, row: usize) {
        let (shape, weights) = (self.shape, &self.weights.layers[layer]);
        let size = shape.head_size();
        let angles = &self.angles[span(row, size / 2)];
        let place = &self.batch.rows[row];
        let page = &self.pages[place.page as usize];
        // SAFETY: the piece is this row, and every row has its own slot of a page.
        unsafe {
            for query in self.queries.part(span(row, shape.heads * size)).chunks_exact_mut(size) {
                self.norm_head(weights.query_norm.as_deref(), query);
                rotate(shape.rope.pairs, query, angles);
            }
            let keys = self.keys.part(span(row, shape.kv_heads * size));
            let values = self.values.read(span(row, shape.kv_heads * size));
            for head in 0..shape.kv_heads {
                let key = &mut keys[span(head, size)];
                self.norm_head(weights.key_norm.as_deref(), key);
                rotate(shape.rope.pairs, key, angles);
                let at = self.layout.keys(layer, head) + place.slot;
                for (element, &value) in key.iter().enumerate() {
                    let at = at + element * PAGE_TOKENS;
                    page.part(at..at + 1)[0] = value;
                }
                let at = self.layout.values(layer, head) + place.slot * size;
                page.part(at..at + size).copy_from_slice(&values[span(head, size)]);
            }
        }
    }

    fn norm_head(&self, weight: Option<&[f32]>, head: &mut [f32]) {
        if let Some(weight) = weight {
            let before = head.to_vec();
            rms_norm(self.level, &before, weight, self.shape.norm_epsilon, head);
        }
    }
}

fn span(index: usize, width: usize) -> std::ops::Range<usize> {
    index * width..(index + 1) * width
}
