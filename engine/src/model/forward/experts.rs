//! Experts: a router sends every row to some of a layer's feed-forward networks, and one may see all rows.
//!
//! ```text
//! x -> router -> scores -> every row's experts -> rows sorted by expert
//!   -> for every expert that has rows: gate and up, down, as products of its rows
//! ```
//!
//! A row in the order of experts is a seat. Which seats there are depends on the batch, what is computed in them does
//! not; and a row adds up its seats in the order of its experts, so its batch mates leave no trace.

use std::ops::Range;

use super::buffers::{Inputs, SharedInputs};
use super::feed::GatedPanel;
use super::linear::Piece;
use super::{Pass, Walk, span};
use crate::model::Shape;
use crate::model::routing::{Route, route};
use crate::model::weights::{Gated, InputScales};
use jury_kernels::cpu::disjoint::Disjoint;
use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::rows::add_scaled;

/// Phases of a layer's experts, from normed inputs on.
pub(super) const PHASES: usize = 8;

/// Buffers of experts; empty for other models.
#[derive(Debug, Default)]
pub(super) struct ExpertBuffers {
    scores: Vec<f32>,
    routes: Vec<Route>,
    seats: Vec<usize>,
    rows: Vec<usize>,
    busy: Vec<Busy>,
    inputs: Inputs,
    hidden: Inputs,
    outputs: Vec<f32>,
    shared_hidden: Inputs,
}

/// The same, while threads write disjoint parts.
pub(super) struct SharedExperts<'a> {
    /// Rows x experts.
    scores: Disjoint<'a, f32>,
    /// Rows x used experts.
    routes: Disjoint<'a, Route>,
    /// Of every route: its seat.
    seats: Disjoint<'a, usize>,
    /// Of every seat: its row.
    rows: Disjoint<'a, usize>,
    /// The experts that have rows, and room for more.
    busy: Disjoint<'a, Busy>,
    busy_room: usize,
    /// Seats x width.
    inputs: SharedInputs<'a>,
    /// Seats x inner layer.
    hidden: SharedInputs<'a>,
    /// Seats x width.
    outputs: Disjoint<'a, f32>,
    /// Rows x inner layer of the expert that sees all rows.
    shared_hidden: SharedInputs<'a>,
}

/// An expert and its seats.
#[derive(Debug, Clone, Default)]
struct Busy {
    expert: usize,
    seats: Range<usize>,
}

// === impl ExpertBuffers ===

impl ExpertBuffers {
    pub(super) fn make_room(&mut self, shape: &Shape, scales: &InputScales, rows: usize) {
        let Some(experts) = &shape.experts else { return };
        let seats = rows * experts.used;
        self.scores.resize(rows * experts.count, 0.0);
        self.routes.resize(seats, Route::default());
        self.seats.resize(seats, 0);
        self.rows.resize(seats, 0);
        self.busy.resize(seats.min(experts.count), Busy::default());
        self.inputs.resize(seats, shape.width, scales.expert_inputs);
        self.hidden.resize(seats, experts.hidden, scales.expert_hidden);
        self.outputs.resize(seats * shape.width, 0.0);
        self.shared_hidden.resize(rows, experts.shared * experts.hidden, scales.shared_hidden);
    }

    pub(super) fn share(&mut self) -> SharedExperts<'_> {
        SharedExperts {
            scores: Disjoint::new(&mut self.scores),
            routes: Disjoint::new(&mut self.routes),
            seats: Disjoint::new(&mut self.seats),
            rows: Disjoint::new(&mut self.rows),
            busy_room: self.busy.len(),
            busy: Disjoint::new(&mut self.busy),
            inputs: self.inputs.share(),
            hidden: self.hidden.share(),
            outputs: Disjoint::new(&mut self.outputs),
            shared_hidden: self.shared_hidden.share(),
        }
    }
}

// Safety of all methods: see `ends.rs`. Pieces are rows, seats, or panels' columns, written in one phase and read in the
// next. Numbers of pieces depend on the batch's size alone: members that come late must know them.
impl Pass<'_> {
    /// Finds every row's experts and seats, and begins with the expert that sees all rows.
    pub(super) unsafe fn route_to(
        &self,
        router: &PackedMatrix,
        shared: Option<&Gated>,
        walk: &mut Walk<'_>,
    ) {
        let (buffers, rows) = (&self.experts, walk.rows);
        let Some(settings) = &self.shape.experts else { return };
        let (count, used) = (settings.count, settings.used);
        // SAFETY (whole body): see above.
        unsafe {
            let panels = router.panels();
            let more = shared.map_or(0, |gated| gated.gate.panels());
            let (parallel_for, scratch) = (walk.parallel_for(), &mut *walk.scratch);
            parallel_for.run(panels + more, |piece| {
                let input = self.normed.rows(0..rows);
                match (shared, piece.checked_sub(panels)) {
                    (Some(gated), Some(panel)) => {
                        let work = GatedPanel { gated, panel, prefetch: [&[], &[]], first_row: 0 };
                        self.gate(work, &input, &buffers.shared_hidden, scratch);
                    }
                    _ => {
                        let piece = Piece::new(router, piece, &[]);
                        self.store(piece, &input, &mut scratch.panel, &buffers.scores);
                    }
                }
            });
            walk.parallel_for().run_in_chunks(rows, self.row_chunk, |row| {
                let scores = buffers.scores.part(span(row, count));
                route(settings, scores, buffers.routes.part(span(row, used)));
            });
            walk.parallel_for().run(1, |_| self.assign_seats(rows, count, used));
        }
    }

    /// Sorts all routes by expert, and those of an expert by row.
    unsafe fn assign_seats(&self, rows: usize, count: usize, used: usize) {
        let (buffers, all) = (&self.experts, rows * used);
        // SAFETY: the only piece of its phase.
        unsafe {
            let routes = buffers.routes.read(0..all);
            let (seats, seat_rows) = (buffers.seats.part(0..all), buffers.rows.part(0..all));
            let mut next = vec![0; count + 1];
            routes.iter().for_each(|route| next[route.expert + 1] += 1);
            let busy = buffers.busy.part(0..buffers.busy_room);
            busy.fill(Busy::default());
            let mut free = busy.iter_mut();
            for expert in 0..count {
                let first = next[expert];
                next[expert + 1] += first;
                if next[expert + 1] > first
                    && let Some(busy) = free.next()
                {
                    *busy = Busy { expert, seats: first..next[expert + 1] };
                }
            }
            for (index, route) in routes.iter().enumerate() {
                let seat = next[route.expert];
                next[route.expert] += 1;
                (seats[index], seat_rows[seat]) = (seat, index / used);
            }
        }
    }

    /// Computes all seats, and adds the outputs of the expert that sees all rows.
    pub(super) unsafe fn experts(
        &self,
        experts: &[Gated],
        shared: Option<&Gated>,
        walk: &mut Walk<'_>,
    ) {
        let (buffers, rows) = (&self.experts, walk.rows);
        let used = self.shape.experts.as_ref().map_or(0, |settings| settings.used);
        let inner_panels = experts.first().map_or(0, |gated| gated.gate.panels());
        let outer_panels = experts.first().map_or(0, |gated| gated.down.panels());
        // SAFETY (whole body): see above.
        unsafe {
            walk.parallel_for().run_in_chunks(rows * used, self.row_chunk, |seat| {
                let row = buffers.rows.read(seat..seat + 1)[0];
                let normed = self.normed.row(row);
                buffers.inputs.write_row(self.level, seat, |to| to.copy_from_slice(normed));
            });
            let (parallel_for, scratch) = (walk.parallel_for(), &mut *walk.scratch);
            parallel_for.run(buffers.busy_room * inner_panels, |piece| {
                let Some((expert, seats)) = self.busy(piece / inner_panels) else { return };
                let (gated, panel) = (&experts[expert], piece % inner_panels);
                let input = buffers.inputs.rows(seats.clone());
                let work =
                    GatedPanel { gated, panel, prefetch: [&[], &[]], first_row: seats.start };
                self.gate(work, &input, &buffers.hidden, scratch);
            });
            self.join_groups(&buffers.hidden, rows * used, walk);
            self.join_groups(&buffers.shared_hidden, if shared.is_some() { rows } else { 0 }, walk);
            let pieces = buffers.busy_room * outer_panels;
            let more = shared.map_or(0, |gated| gated.down.panels());
            let (parallel_for, scratch) = (walk.parallel_for(), &mut walk.scratch.panel);
            parallel_for.run(pieces + more, |piece| match (shared, piece.checked_sub(pieces)) {
                (Some(gated), Some(panel)) => {
                    let input = buffers.shared_hidden.rows(0..rows);
                    self.add(Piece::new(&gated.down, panel, &[]), &input, scratch);
                }
                _ => {
                    let Some((expert, seats)) = self.busy(piece / outer_panels) else { return };
                    let first_row = seats.start;
                    let piece = Piece::new(&experts[expert].down, piece % outer_panels, &[]);
                    let piece = Piece { first_row, ..piece };
                    let input = buffers.hidden.rows(seats);
                    self.store(piece, &input, scratch, &buffers.outputs);
                }
            });
        }
    }

    /// The expert of this number among those that have rows, with its seats.
    unsafe fn busy(&self, number: usize) -> Option<(usize, Range<usize>)> {
        // SAFETY: written in an earlier phase.
        let busy = unsafe { &self.experts.busy.read(number..number + 1)[0] };
        (!busy.seats.is_empty()).then(|| (busy.expert, busy.seats.clone()))
    }

    /// Adds what a row's experts made of it to the stream.
    ///
    /// # Safety
    /// The caller's piece is this row.
    pub(super) unsafe fn add_routed(&self, row: usize) {
        let (buffers, width) = (&self.experts, self.shape.width);
        let used = self.shape.experts.as_ref().map_or(0, |settings| settings.used);
        // SAFETY: the caller's promise.
        unsafe {
            let stream = self.stream.part(span(row, width));
            let routes = buffers.routes.read(span(row, used));
            for (route, &seat) in routes.iter().zip(buffers.seats.read(span(row, used))) {
                let outputs = buffers.outputs.read(span(seat, width));
                add_scaled(self.level, outputs, route.weight, stream);
            }
        }
    }
}
