//! Experts: a router sends every row to some of a layer's feed-forward networks; another one may be shared by all rows.
//!
//! ```text
//! x -> router -> scores -> every row's experts -> rows sorted by expert
//!   -> for every expert with rows: gate and up, down, as products of its rows
//! ```
//!
//! A seat is a row's place in the order of experts. Which seats exist depends on the batch, but what is computed in
//! them does not; and a row sums its seats in the order of its experts, so other rows of the batch do not affect it.

use std::ops::Range;

use super::buffers::{Inputs, SharedInputs};
use super::feed::GatedPanel;
use super::linear::Piece;
use super::{Pass, Walk};
use crate::model::Shape;
use crate::model::routing::{Route, route};
use crate::model::weights::{Gated, InputScales};
use jury_kernels::cpu::packed::PackedMatrix;
use jury_kernels::cpu::rows::add_scaled;
use jury_kernels::cpu::shared::{Rows, SharedRows};
use jury_kernels::cpu::thread_pool::{Claim, Phases};

/// Phases of a layer's experts, starting from normalised inputs.
pub(super) const PHASES: usize = 8;

/// Buffers of experts; empty for other models.
#[derive(Debug, Default)]
pub(super) struct ExpertBuffers {
    scores: Rows<f32>,
    routes: Rows<Route>,
    seats: Rows<usize>,
    rows: Rows<usize>,
    busy: Rows<Busy>,
    inputs: Inputs,
    hidden: Inputs,
    outputs: Rows<f32>,
    shared_hidden: Inputs,
}

/// The same, while several threads fill them.
pub(super) struct SharedExperts<'a> {
    /// Rows x experts.
    scores: SharedRows<'a, f32>,
    /// Rows x used experts.
    routes: SharedRows<'a, Route>,
    /// The seat of every route.
    seats: SharedRows<'a, usize>,
    /// The row of every seat.
    rows: SharedRows<'a, usize>,
    /// The experts that have rows, one per row of the buffer, with spare room.
    busy: SharedRows<'a, Busy>,
    /// Seats x width.
    inputs: SharedInputs<'a>,
    /// Seats x inner layer.
    hidden: SharedInputs<'a>,
    /// Seats x width.
    outputs: SharedRows<'a, f32>,
    /// Rows x inner layer of the shared expert.
    shared_hidden: SharedInputs<'a>,
}

/// An expert and its seats.
#[derive(Debug, Clone, Copy, Default)]
struct Busy {
    expert: usize,
    /// The first seat, and one past the last.
    seats: [usize; 2],
}

// === impl ExpertBuffers ===

impl ExpertBuffers {
    pub(super) fn make_room(&mut self, shape: &Shape, scales: &InputScales, rows: usize) {
        let Some(experts) = &shape.experts else { return };
        let seats = rows * experts.used;
        self.scores.resize(rows, experts.count);
        self.routes.resize(rows, experts.used);
        self.seats.resize(rows, experts.used);
        self.rows.resize(seats, 1);
        self.busy.resize(seats.min(experts.count), 1);
        self.inputs.resize(seats, shape.width, scales.expert_inputs);
        self.hidden.resize(seats, experts.hidden, scales.expert_hidden);
        self.outputs.resize(seats, shape.width);
        self.shared_hidden.resize(rows, experts.shared * experts.hidden, scales.shared_hidden);
    }

    pub(super) fn share<'a>(&'a mut self, phases: &'a Phases) -> SharedExperts<'a> {
        SharedExperts {
            scores: self.scores.share(phases),
            routes: self.routes.share(phases),
            seats: self.seats.share(phases),
            rows: self.rows.share(phases),
            busy: self.busy.share(phases),
            inputs: self.inputs.share(phases),
            hidden: self.hidden.share(phases),
            outputs: self.outputs.share(phases),
            shared_hidden: self.shared_hidden.share(phases),
        }
    }
}

// The number of pieces depends on the batch's size alone: threads that arrive late must know it.
impl Pass<'_> {
    /// Finds every row's experts and seats, and starts on the shared expert.
    pub(super) fn route_to(
        &self,
        router: &PackedMatrix,
        shared: Option<&Gated>,
        walk: &mut Walk<'_>,
    ) {
        let (buffers, rows) = (&self.experts, walk.rows);
        let Some(settings) = &self.shape.experts else { return };
        let (count, used) = (settings.count, settings.used);
        let panels = router.panels();
        let more = shared.map_or(0, |gated| gated.gate.panels());
        walk.thread.run(panels + more, |claim, piece| {
            let input = self.normed.rows(claim, 0..rows);
            match (shared, piece.checked_sub(panels)) {
                (Some(gated), Some(panel)) => {
                    let work = GatedPanel::plain(gated, panel, 0);
                    self.gate(claim, work, &input, &buffers.shared_hidden, walk.scratch);
                }
                _ => {
                    let (piece, scratch) =
                        (Piece::new(router, piece, &[]), &mut walk.scratch.panel);
                    self.store(claim, piece, &input, scratch, &buffers.scores);
                }
            }
        });
        walk.thread.run_in_chunks(rows, self.row_chunk, |claim, row| {
            let (scores, routes) = (buffers.scores.row(claim, row), buffers.routes.row(claim, row));
            route(settings, scores, routes);
        });
        walk.thread.run(1, |claim, _| self.assign_seats(claim, rows, count, used));
    }

    /// Sorts all routes by expert, and those of an expert by row.
    fn assign_seats(&self, claim: &Claim<'_>, rows: usize, count: usize, used: usize) {
        let buffers = &self.experts;
        let routes = buffers.routes.read(claim, 0..rows);
        let (seats, seat_rows) = (buffers.seats.whole(claim), buffers.rows.whole(claim));
        let mut next = vec![0; count + 1];
        routes.iter().for_each(|route| next[route.expert + 1] += 1);
        let busy = buffers.busy.whole(claim);
        busy.fill(Busy::default());
        let mut free = busy.iter_mut();
        for expert in 0..count {
            let first = next[expert];
            next[expert + 1] += first;
            if next[expert + 1] > first
                && let Some(busy) = free.next()
            {
                *busy = Busy { expert, seats: [first, next[expert + 1]] };
            }
        }
        for (index, route) in routes.iter().enumerate() {
            let seat = next[route.expert];
            next[route.expert] += 1;
            (seats[index], seat_rows[seat]) = (seat, index / used);
        }
    }

    /// Computes all seats, and adds the shared expert's outputs.
    pub(super) fn experts(&self, experts: &[Gated], shared: Option<&Gated>, walk: &mut Walk<'_>) {
        let (buffers, rows) = (&self.experts, walk.rows);
        let used = self.shape.experts.as_ref().map_or(0, |settings| settings.used);
        let inner_panels = experts.first().map_or(0, |gated| gated.gate.panels());
        let outer_panels = experts.first().map_or(0, |gated| gated.down.panels());
        walk.thread.run_in_chunks(rows * used, self.row_chunk, |claim, seat| {
            let row = buffers.rows.read(claim, seat..seat + 1)[0];
            let normed = self.normed.row(claim, row);
            buffers.inputs.write_row(claim, self.level, seat, |to| to.copy_from_slice(normed));
        });
        walk.thread.run(buffers.busy.rows() * inner_panels, |claim, piece| {
            let Some((expert, seats)) = self.busy(claim, piece / inner_panels) else { return };
            let (gated, panel) = (&experts[expert], piece % inner_panels);
            let work = GatedPanel::plain(gated, panel, seats.start);
            let input = buffers.inputs.rows(claim, seats);
            self.gate(claim, work, &input, &buffers.hidden, walk.scratch);
        });
        self.join_groups(&buffers.hidden, rows * used, walk);
        self.join_groups(&buffers.shared_hidden, if shared.is_some() { rows } else { 0 }, walk);
        let pieces = buffers.busy.rows() * outer_panels;
        let more = shared.map_or(0, |gated| gated.down.panels());
        let scratch = &mut walk.scratch.panel;
        walk.thread.run(pieces + more, |claim, piece| match (shared, piece.checked_sub(pieces)) {
            (Some(gated), Some(panel)) => {
                let input = buffers.shared_hidden.rows(claim, 0..rows);
                self.add(claim, Piece::new(&gated.down, panel, &[]), &input, scratch);
            }
            _ => {
                let Some((expert, seats)) = self.busy(claim, piece / outer_panels) else { return };
                let first_row = seats.start;
                let piece = Piece::new(&experts[expert].down, piece % outer_panels, &[]);
                let piece = Piece { first_row, ..piece };
                let input = buffers.hidden.rows(claim, seats);
                self.store(claim, piece, &input, scratch, &buffers.outputs);
            }
        });
    }

    /// The expert with this index among those that have rows, and its seats.
    fn busy(&self, claim: &Claim<'_>, number: usize) -> Option<(usize, Range<usize>)> {
        let Busy { expert, seats: [start, end] } =
            self.experts.busy.read(claim, number..number + 1)[0];
        (start < end).then_some((expert, start..end))
    }

    /// Adds the outputs of a row's experts to its row of the stream.
    pub(super) fn add_routed(&self, claim: &Claim<'_>, row: usize, stream: &mut [f32]) {
        let buffers = &self.experts;
        let routes = buffers.routes.read(claim, row..row + 1);
        let seats = buffers.seats.read(claim, row..row + 1);
        for (route, &seat) in routes.iter().zip(seats) {
            let outputs = buffers.outputs.read(claim, seat..seat + 1);
            add_scaled(self.level, outputs, route.weight, stream);
        }
    }
}
