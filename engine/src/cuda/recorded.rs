//! Repeated steps, recorded once for each size and then launched as one graph.

use super::CardModel;
use super::layout::Extent;
use jury_kernels::cuda::{CudaError, Graph};

/// Maximum number of recorded steps; beyond it, all are dropped.
const MOST_GRAPHS: usize = 128;

// === impl CardModel ===

impl CardModel {
    /// Drops recorded steps: they refer to buffers that move, and they take memory.
    pub(super) fn forget_recorded(&mut self) -> Result<(), CudaError> {
        self.card.synchronise()?;
        self.graphs.clear();
        Ok(())
    }

    /// Launches a forward pass that will be repeated, recording it the second time.
    pub(super) fn pass_recorded(&mut self, lane: usize, extent: Extent) -> Result<(), CudaError> {
        match self.graphs.get(&(lane, extent)) {
            Some(Some(graph)) => graph.launch(),
            Some(None) => {
                let recorded = Graph::record(&self.card, || self.pass(lane, extent));
                match recorded.and_then(|graph| graph.launch().map(|()| graph)) {
                    Ok(graph) => {
                        self.graphs.insert((lane, extent), Some(graph));
                        Ok(())
                    }
                    Err(error) => {
                        // Usually the memory for recorded steps ran out; if the card is lost, later calls report that
                        // again.
                        tracing::warn!(%error, "a step is not recorded; all recorded ones are forgotten");
                        self.forget_recorded()?;
                        self.pass(lane, extent)
                    }
                }
            }
            None => {
                self.pass(lane, extent)?;
                if self.graphs.len() >= MOST_GRAPHS {
                    self.forget_recorded()?;
                }
                self.graphs.insert((lane, extent), None);
                Ok(())
            }
        }
    }
}
