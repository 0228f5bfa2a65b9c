//! Launches of a layer's experts: which rows go to which expert, and adding their outputs to the stream.

use super::{Kernels, LaunchShape, Routing, Seats, arguments, check};
use crate::cuda::{CudaError, View};

// === impl Kernels ===

impl Kernels {
    /// Chooses each row's experts by the router's scores (rows x experts), which become probabilities (softmax over
    /// all). The most probable ones are chosen (the first of equal ones) and written, sorted by number, to `experts`
    /// and `weights` (rows x used). NaN scores choose the first experts, with NaN weights.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short, there are more than 256 experts, more than 16 are used, or the groups do not divide the
    /// experts evenly.
    pub fn route(
        &self,
        routing: Routing,
        rows: usize,
        scores: View<'_, f32>,
        experts: View<'_, u32>,
        weights: View<'_, f32>,
    ) -> Result<(), CudaError> {
        routing.check();
        check("scores", scores.len(), rows * routing.experts);
        check("routes", experts.len(), rows * routing.used);
        check("weights of routes", weights.len(), rows * routing.used);
        let (groups, used_groups) = routing.groups.unwrap_or((0, 0));
        let (groups, used_groups) = (groups as u32, used_groups as u32);
        let (normalise, scale) = (u32::from(routing.normalise), routing.scale);
        let shape = LaunchShape::routes(rows);
        let (rows, count, used) = (rows as u32, routing.experts as u32, routing.used as u32);
        let (scores, experts, weights) = (scores.pointer, experts.pointer, weights.pointer);
        self.launch(
            &self.route,
            shape,
            arguments![
                scores,
                experts,
                weights,
                rows,
                count,
                used,
                groups,
                used_groups,
                normalise,
                scale
            ],
        )
    }

    /// Assigns seats to the routes of a role's rows: `routes` (rows x used) are numbers of experts below `experts`, all
    /// different within a row. Writes all views of `seats`.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short, or there are more than 256 experts or 65536 seats.
    pub fn assign_seats(
        &self,
        experts: usize,
        routes: View<'_, u32>,
        seats: &Seats<'_>,
    ) -> Result<(), CudaError> {
        seats.check(experts);
        let count = seats.count();
        check("routes", routes.len(), count);
        let (count, used) = (count as u32, seats.used as u32);
        let Seats { rows_of_seats, seats_of_routes, tiles, tile_count, .. } = *seats;
        self.launch(
            &self.assign_seats,
            LaunchShape::seats(),
            arguments![
                routes.pointer,
                rows_of_seats.pointer,
                seats_of_routes.pointer,
                tiles.pointer,
                tile_count.pointer,
                count,
                used
            ],
        )
    }

    /// Adds the outputs of each row's experts to its row of `stream` (rows x width): the outputs (seats x width) of its
    /// seats, in the order of its routes, times their `weights` (rows x used). `width` must be a multiple of 4.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// A view is too short.
    pub fn add_routed(
        &self,
        seats: &Seats<'_>,
        width: usize,
        outputs: View<'_, f32>,
        weights: View<'_, f32>,
        stream: View<'_, f32>,
    ) -> Result<(), CudaError> {
        let Seats { rows, used, seats_of_routes, .. } = *seats;
        assert!(width.is_multiple_of(4), "rows of {width} elements");
        check("outputs of seats", outputs.len(), seats.count() * width);
        check("seats of routes", seats_of_routes.len(), seats.count());
        check("weights of routes", weights.len(), seats.count());
        check("stream", stream.len(), rows * width);
        let shape = LaunchShape::routed(rows, width);
        let (used, width) = (used as u32, width as u32);
        let (outputs, weights) = (outputs.pointer, weights.pointer);
        self.launch(
            &self.add_routed,
            shape,
            arguments![outputs, seats_of_routes.pointer, weights, stream.pointer, used, width],
        )
    }
}
