//! Recorded launches: a step of many kernels for the cost of a single launch.

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};

use super::{Card, CudaError};

/// Launches with their arguments, to be repeated. The buffers that they refer to must outlive it.
pub struct Graph(CudaGraph);

// SAFETY: used by one thread at a time, which ownership ensures.
#[allow(unsafe_code)]
unsafe impl Send for Graph {}

impl Graph {
    /// Records the launches of `launch` without running them.
    ///
    /// # Errors
    /// `launch` fails, or the card is lost.
    pub fn record(
        card: &Card,
        launch: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<Graph, CudaError> {
        let failed = || CudaError::driver("recording launches");
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        card.stream.begin_capture(mode).map_err(failed())?;
        let launched = launch();
        let graph = card.stream.end_capture(CUgraphInstantiate_flags(0));
        launched?;
        match graph.map_err(failed())? {
            Some(graph) => Ok(Graph(graph)),
            None => Err(CudaError::Unsupported("nothing was recorded".to_owned())),
        }
    }

    /// Launches the whole recording.
    ///
    /// # Errors
    /// The card is lost.
    pub fn launch(&self) -> Result<(), CudaError> {
        self.0.launch().map_err(CudaError::driver("launching a recorded step"))
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}
