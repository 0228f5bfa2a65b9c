//! The forward pass: all rows of a step, prompt chunks and decoding samples alike, through all layers.
//!
//! ```text
//! rows -> embedding -> layers of [norm, q k v, rotation, store, attention, output, norm, gate up, down] -> norm -> head
//! ```
//!
//! One job for the team: every phase is shared out (weight panels and attention tiles are claimed one by one), and
//! a barrier separates it from the next.

#![allow(unsafe_code)] // Threads write disjoint rows and columns of the buffers between barriers.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::attention::{AttentionLayer, AttentionShape, Cluster, Scratch, tiles};
use super::kv::{KvStore, PAGE_TOKENS, PageId, PageLayout};
use super::weights::Linear;
use super::{Shape, Weights};
use crate::kernels::codes::{QuantRows, QuantView};
use crate::kernels::disjoint::Disjoint;
use crate::kernels::packed::{Input, Packed};
use crate::kernels::rows::{QuantRow, quantise, rms_norm, rotate, silu_times};
use crate::kernels::team::{Crew, Team};
use crate::kernels::{GROUP, Level, PANEL};

/// Phases of a layer whose work is claimed piece by piece.
const CLAIMED_PHASES: usize = 5;

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
    claims: Vec<AtomicUsize>,
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
    claims: &'a [AtomicUsize],
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
        let (queries, keys) = (shape.heads * shape.head_size, shape.kv_heads * shape.head_size);
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
        self.claims.clear();
        self.claims.resize_with(shape.layers * CLAIMED_PHASES + 1, || AtomicUsize::new(0));
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
            scale: 1.0 / (shape.head_size as f32).sqrt(),
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
            claims: &self.claims,
        };
        let scratch = Disjoint::new(&mut self.scratch);
        let logits = Disjoint::new(&mut self.logits);
        team.run(&|crew| {
            // SAFETY: every member has its own scratch.
            let scratch = unsafe { &mut scratch.part(crew.member..crew.member + 1)[0] };
            // SAFETY: the phases of `Pass` are written so that between two barriers no thread reads or writes what
            // another writes: rows are shared out by `share`, panels and tiles by claims.
            unsafe {
                pass.embed(crew);
                for layer in 0..shape.layers {
                    pass.attend(crew, layer, &tiles, attention, scratch);
                    pass.feed(crew, layer, scratch);
                }
                pass.head(crew, &wanted, &logits);
            }
        });
    }
}

// === impl Pass ===

// Safety of all methods: called by every member of the crew, in the same order.
impl Pass<'_> {
    fn rows(&self) -> usize {
        self.batch.rows.len()
    }

    unsafe fn embed(&self, crew: &Crew<'_>) {
        for row in crew.share(self.rows()) {
            // SAFETY: rows are shared out.
            let stream = unsafe { self.stream.part(span(row, self.shape.width)) };
            self.weights.embedding.row(self.batch.rows[row].token, stream);
        }
        // The norm that follows takes the same rows: no barrier.
    }

    unsafe fn attend(
        &self,
        crew: &Crew<'_>,
        layer: usize,
        tiles: &[super::attention::AttentionTile],
        attention: AttentionShape,
        scratch: &mut ThreadScratch,
    ) {
        let (shape, weights) = (self.shape, &self.weights.layers[layer]);
        let width = shape.width;
        let query_width = shape.heads * shape.head_size;
        // SAFETY (whole body): each loop touches its share of rows, its claimed panels' columns, or its claimed
        // tiles' rows and heads; barriers lie between a write and another thread's read.
        unsafe {
            self.normalise(crew, &weights.attention_norm);
            crew.wait();
            let input = self.input(self.rows(), width);
            let (queries, keys) = (weights.query.matrix.panels(), weights.key.matrix.panels());
            let all = queries + keys + weights.value.matrix.panels();
            self.claim(layer, 0, all, |panel| {
                let (linear, panel, out) = if panel < queries {
                    (&weights.query, panel, &self.queries)
                } else if panel < queries + keys {
                    (&weights.key, panel - queries, &self.keys)
                } else {
                    (&weights.value, panel - queries - keys, &self.values)
                };
                self.store_panel(linear, panel, &input, out);
            });
            crew.wait();
            for row in crew.share(self.rows()) {
                self.rotate_and_store(layer, row);
            }
            crew.wait();
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
            self.claim(layer, 1, tiles.len(), |tile| run.run(&tiles[tile], &mut scratch.attention));
            crew.wait();
            for row in crew.share(self.rows()) {
                let attended = self.attended.read(span(row, query_width));
                quantise(self.level, attended, self.quant_row(row, query_width));
            }
            crew.wait();
            let input = self.input_of(self.rows(), query_width, &self.attended);
            self.claim(layer, 2, weights.output.matrix.panels(), |panel| {
                self.add_panel(&weights.output.matrix, panel, &input);
            });
            crew.wait();
        }
    }

    unsafe fn feed(&self, crew: &Crew<'_>, layer: usize, scratch: &mut ThreadScratch) {
        let weights = &self.weights.layers[layer];
        let hidden = self.shape.hidden;
        // SAFETY (whole body): as in `attend`.
        unsafe {
            self.normalise(crew, &weights.feed_norm);
            crew.wait();
            let input = self.input(self.rows(), self.shape.width);
            self.claim(layer, 3, weights.gate.panels(), |panel| {
                self.gate_panel(weights, panel, &input, &mut scratch.gate);
            });
            crew.wait();
            for row in crew.share(self.rows()) {
                let values = self.hidden.read(span(row, hidden));
                quantise(self.level, values, self.quant_row(row, hidden));
            }
            crew.wait();
            let input = self.input_of(self.rows(), hidden, &self.hidden);
            self.claim(layer, 4, weights.down.panels(), |panel| {
                self.add_panel(&weights.down, panel, &input);
            });
            crew.wait();
        }
    }

    unsafe fn head(&self, crew: &Crew<'_>, wanted: &[usize], logits: &Disjoint<'_, f32>) {
        let (width, head) = (self.shape.width, &self.weights.head);
        let stride = Forward::logits_stride(self.shape);
        // SAFETY (whole body): as in `attend`; the wanted rows move to the front of the codes.
        unsafe {
            for index in crew.share(wanted.len()) {
                let stream = self.stream.read(span(wanted[index], width));
                let normed = self.normed.part(span(index, width));
                let epsilon = self.shape.norm_epsilon;
                rms_norm(self.level, stream, &self.weights.output_norm, epsilon, normed);
                quantise(self.level, normed, self.quant_row(index, width));
            }
            crew.wait();
            let input = self.input(wanted.len(), width);
            let phase = self.shape.layers * CLAIMED_PHASES;
            self.claim_at(phase, head.panels(), |panel| {
                head.panel(self.level, panel, &input, |first, count, tile| {
                    let width = PANEL.min(head.outputs - panel * PANEL);
                    for row in 0..count {
                        let at = (first + row) * stride + panel * PANEL;
                        let out = logits.part(at..at + PANEL);
                        out[..width].copy_from_slice(&tile[row][..width]);
                        out[width..].fill(f32::NEG_INFINITY);
                    }
                });
            });
        }
    }

    /// Norm and quantisation of this member's share of the residual stream.
    unsafe fn normalise(&self, crew: &Crew<'_>, weight: &[f32]) {
        for row in crew.share(self.rows()) {
            // SAFETY: rows are shared out.
            unsafe {
                let stream = self.stream.read(span(row, self.shape.width));
                let normed = self.normed.part(span(row, self.shape.width));
                rms_norm(self.level, stream, weight, self.shape.norm_epsilon, normed);
                quantise(self.level, normed, self.quant_row(row, self.shape.width));
            }
        }
    }

    /// One row's place among the codes, for rows of `inputs` elements.
    unsafe fn quant_row(&self, row: usize, inputs: usize) -> QuantRow<'_> {
        let groups = inputs / GROUP;
        // SAFETY: rows are shared out by the caller.
        unsafe {
            QuantRow {
                codes: self.codes.part(span(row, inputs)),
                scales: self.code_scales.part(span(row, groups)),
                sums: self.code_sums.part(span(row, groups * 2)),
            }
        }
    }

    unsafe fn input(&self, rows: usize, inputs: usize) -> Input<'_> {
        // SAFETY: the caller has passed a barrier since rows were written.
        unsafe { self.input_of(rows, inputs, &self.normed) }
    }

    unsafe fn input_of<'b>(
        &'b self,
        rows: usize,
        inputs: usize,
        floats: &'b Disjoint<'_, f32>,
    ) -> Input<'b> {
        let groups = inputs / GROUP;
        // SAFETY: the caller has passed a barrier since rows were written.
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

    fn claim(&self, layer: usize, phase: usize, count: usize, work: impl FnMut(usize)) {
        self.claim_at(layer * CLAIMED_PHASES + phase, count, work);
    }

    /// Takes pieces of work until none is left.
    fn claim_at(&self, counter: usize, count: usize, mut work: impl FnMut(usize)) {
        loop {
            let piece = self.claims[counter].fetch_add(1, Ordering::Relaxed);
            if piece >= count {
                return;
            }
            work(piece);
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
            for row in 0..count {
                let at = (first + row) * matrix.outputs + panel * PANEL;
                // SAFETY: this panel's columns are this thread's.
                let out = unsafe { out.part(at..at + width) };
                match &linear.bias {
                    None => out.copy_from_slice(&tile[row][..width]),
                    Some(bias) => {
                        for column in 0..width {
                            out[column] = tile[row][column] + bias[panel * PANEL + column];
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
            for row in 0..count {
                let at = (first + row) * matrix.outputs + panel * PANEL;
                // SAFETY: this panel's columns are this thread's.
                let out = unsafe { self.stream.part(at..at + width) };
                for column in 0..width {
                    out[column] += tile[row][column];
                }
            }
        });
    }

    /// silu(gate) * up for one panel.
    unsafe fn gate_panel(
        &self,
        weights: &super::weights::Layer,
        panel: usize,
        input: &Input<'_>,
        gate: &mut Vec<f32>,
    ) {
        let hidden = self.shape.hidden;
        let width = PANEL.min(hidden - panel * PANEL);
        gate.resize(input.rows * PANEL, 0.0);
        weights.gate.panel(self.level, panel, input, |first, count, tile| {
            for row in 0..count {
                gate[(first + row) * PANEL..][..PANEL].copy_from_slice(&tile[row]);
            }
        });
        weights.up.panel(self.level, panel, input, |first, count, tile| {
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
        let size = shape.head_size;
        let angles = &self.angles[span(row, size / 2)];
        let place = &self.batch.rows[row];
        let page = &self.pages[place.page as usize];
        // SAFETY: rows are shared out, and every row has its own slot of a page.
        unsafe {
            for query in self.queries.part(span(row, shape.heads * size)).chunks_exact_mut(size) {
                self.norm_head(weights.query_norm.as_deref(), query);
                rotate(shape.rope_pairs, query, angles);
            }
            let keys = self.keys.part(span(row, shape.kv_heads * size));
            let values = self.values.read(span(row, shape.kv_heads * size));
            for head in 0..shape.kv_heads {
                let key = &mut keys[span(head, size)];
                self.norm_head(weights.key_norm.as_deref(), key);
                rotate(shape.rope_pairs, key, angles);
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
