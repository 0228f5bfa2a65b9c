//! Steps that come again and again, recorded once for each size and then launched as one.

use super::CardModel;
use super::layout::Extent;
use jury_kernels::cuda::{CudaError, Graph};

/// Recorded steps that are kept; when there are more, all are forgotten.
const MOST_GRAPHS: usize = 128;

// === impl CardModel ===

impl CardModel {
    /// Recorded steps name buffers that move, and take memory.
    pub(super) fn forget_recorded(&mut self) -> Result<(), CudaError> {
        self.card.synchronise()?;
        self.graphs.clear();
        Ok(())
    }

    /// Launches a forward pass that will come again: recorded from its second time on.
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
                        // Mostly memory that recorded steps take; a card that is lost says so again.
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
