//! A step's experts on the card: which rows go to which expert, and their activations. Both roles use the same memory,
//! one after the other.

use std::ops::Range;

use crate::model::Shape;
use jury_kernels::cuda::{Bf16, Buffer, Card, CudaError, SeatTile, Seats, View, most_seat_tiles};

/// Buffers of experts; empty for models without experts.
#[derive(Debug)]
pub(crate) struct ExpertBuffers {
    /// Rows x experts: the router's scores.
    pub(crate) scores: Buffer<f32>,
    /// Rows x used experts: indices of the experts.
    pub(crate) routes: Buffer<u32>,
    /// Rows x used experts: factors of their outputs.
    pub(crate) weights: Buffer<f32>,
    rows_of_seats: Buffer<u32>,
    seats_of_routes: Buffer<u32>,
    tiles: Buffer<SeatTile>,
    tile_count: Buffer<u32>,
    /// Seats x (gates, ups).
    pub(crate) gate_up: Buffer<Bf16>,
    /// Seats x inner layer.
    pub(crate) hidden: Buffer<Bf16>,
    /// Seats x width.
    pub(crate) outputs: Buffer<f32>,
}

/// The routes of some rows, and room for their seats.
pub(crate) struct Routes<'a> {
    pub(crate) experts: View<'a, u32>,
    pub(crate) weights: View<'a, f32>,
    pub(crate) seats: Seats<'a>,
}

// === impl ExpertBuffers ===

impl ExpertBuffers {
    pub(crate) fn new(card: &Card, shape: &Shape, rows: usize) -> Result<ExpertBuffers, CudaError> {
        let what = "experts' activations";
        let (count, used, hidden) = sizes(shape);
        let seats = rows * used;
        Ok(ExpertBuffers {
            scores: Buffer::zeroed(card, rows * count, what)?,
            routes: Buffer::zeroed(card, seats, what)?,
            weights: Buffer::zeroed(card, seats, what)?,
            rows_of_seats: Buffer::zeroed(card, seats, what)?,
            seats_of_routes: Buffer::zeroed(card, seats, what)?,
            tiles: Buffer::zeroed(card, most_seat_tiles(seats, count), what)?,
            tile_count: Buffer::zeroed(card, 1, what)?,
            gate_up: Buffer::zeroed(card, seats * 2 * hidden, what)?,
            hidden: Buffer::zeroed(card, seats * hidden, what)?,
            outputs: Buffer::zeroed(card, seats * shape.width, what)?,
        })
    }

    /// Bytes per row of a batch.
    pub(crate) fn bytes_a_row(shape: &Shape) -> usize {
        let (count, used, hidden) = sizes(shape);
        let seat = 2 * 3 * hidden + 4 * shape.width + 4 * 4 + size_of::<SeatTile>();
        4 * count + used * seat
    }

    /// The routes of a role's rows.
    pub(crate) fn of_rows(&self, rows: Range<usize>, used: usize) -> Routes<'_> {
        let routes = rows.start * used..rows.end * used;
        Routes {
            experts: self.routes.slice(routes.clone()),
            weights: self.weights.slice(routes),
            seats: Seats {
                rows: rows.len(),
                used,
                rows_of_seats: self.rows_of_seats.view(),
                seats_of_routes: self.seats_of_routes.view(),
                tiles: self.tiles.view(),
                tile_count: self.tile_count.view(),
            },
        }
    }
}

/// Number of experts, of experts per row, and the size of their inner layer.
fn sizes(shape: &Shape) -> (usize, usize, usize) {
    let settings = shape.experts.as_ref();
    settings.map_or((0, 0, 0), |experts| (experts.count, experts.used, experts.hidden))
}
