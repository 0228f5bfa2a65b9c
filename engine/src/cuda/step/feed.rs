//! A layer's feed-forward network, or its experts.

use std::ops::Range;

use super::Next;
use crate::cuda::CardModel;
use crate::cuda::layout::Extent;
use crate::cuda::products::{GatedProducts, chosen};
use crate::cuda::weights::{ExpertWeights, Feed, Gated, Layer};
use crate::model::shape::Activation;
use jury_kernels::cuda::{CudaError, MOST_SEATS, Output, Role, Routing, SeatInputs};

// === impl CardModel ===

impl CardModel {
    /// Up to the normalised rows that enter the next layer, if there is one.
    pub(super) fn feed(
        &self,
        layer: &Layer,
        extent: Extent,
        next: Next<'_>,
    ) -> Result<(), CudaError> {
        let (algorithms, shape) = (&self.algorithms, &self.shape);
        match &layer.feed {
            Feed::Dense(weights) => {
                self.feed_gated(weights, chosen(&algorithms.dense)?, shape.hidden, extent)?;
            }
            Feed::Experts(weights) => {
                let experts = &weights.settings;
                self.feed_experts(weights, extent)?;
                if let Some(shared) = &weights.shared {
                    let inner = experts.shared * experts.hidden;
                    self.feed_gated(shared, chosen(&algorithms.shared)?, inner, extent)?;
                }
            }
        }
        self.join(extent.rows, layer.post_feed_norm.as_ref(), next)
    }

    /// A network that sees every row.
    fn feed_gated(
        &self,
        weights: &Gated,
        products: &GatedProducts,
        inner: usize,
        extent: Extent,
    ) -> Result<(), CudaError> {
        let (buffers, rows) = (&self.buffers, [extent.sample_rows, extent.rows]);
        let (gates, hidden) = (buffers.gate_up.view(), buffers.hidden.view());
        let (normed, to) = (buffers.normed.view(), Output::Rounded(gates));
        self.multiply(&products.gate_up, &weights.gate_up, normed, rows, to)?;
        self.kernels.gate(extent.rows, inner, self.is_gelu(), gates, hidden)?;
        let joined = buffers.joined(&self.shape);
        self.multiply(&products.down, &weights.down, hidden, rows, joined)
    }

    /// Adds the outputs of each row's experts to the stream.
    fn feed_experts(&self, weights: &ExpertWeights, extent: Extent) -> Result<(), CudaError> {
        let settings = &weights.settings;
        let (kernels, buffers, shape) = (&self.kernels, &self.buffers, &self.shape);
        let (all, width) = (&buffers.experts, shape.width);
        let Extent { sample_rows, rows, .. } = extent;
        let (normed, to) = (buffers.normed.view(), Output::Floats(all.scores.view()));
        let router = chosen(&self.algorithms.router)?;
        self.multiply(router, &weights.router, normed, [sample_rows, rows], to)?;
        let routing = Routing {
            experts: settings.count,
            used: settings.used,
            groups: settings.groups.map(|groups| (groups.count, groups.used)),
            normalise: settings.normalise,
            scale: settings.scale,
        };
        let (scores, routes, shares) = (all.scores.view(), all.routes.view(), all.weights.view());
        kernels.route(routing, rows, scores, routes, shares)?;
        let most = MOST_SEATS / settings.used;
        let pieces = |role, rows: Range<usize>| {
            let end = rows.end;
            rows.step_by(most).map(move |first| (role, first..end.min(first + most)))
        };
        let samples = pieces(Role::Sample, 0..sample_rows);
        for (role, rows) in samples.chain(pieces(Role::Prompt, sample_rows..rows)) {
            let routes = all.of_rows(rows.clone(), settings.used);
            let seats = &routes.seats;
            let inputs = buffers.normed.slice(rows.start * width..rows.end * width);
            let stream = buffers.stream.slice(rows.start * width..rows.end * width);
            let (gates, hidden, outputs) =
                (all.gate_up.view(), all.hidden.view(), all.outputs.view());
            kernels.assign_seats(settings.count, routes.experts, seats)?;
            let (x, to) = (SeatInputs::OfRows(inputs), Output::Rounded(gates));
            kernels.multiply_experts(role, weights.gate_up.matrices(), seats, x, to)?;
            kernels.gate(seats.count(), settings.hidden, self.is_gelu(), gates, hidden)?;
            let (x, to) = (SeatInputs::OfSeats(hidden), Output::Floats(outputs));
            kernels.multiply_experts(role, weights.down.matrices(), seats, x, to)?;
            kernels.add_routed(seats, width, outputs, routes.weights, stream)?;
        }
        Ok(())
    }

    fn is_gelu(&self) -> bool {
        self.shape.activation == Activation::GeluTanh
    }
}
