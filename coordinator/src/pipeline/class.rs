//! The class that can draw a request. Waits for a first worker: briefly, or until the deadline if the model may have
//! been scaled to zero.

use std::time::Duration;

use jury_grm::domain::ScoreRequest;
use jury_grm::plan::extent;
use tokio::time::Instant;

use crate::coordinator::Coordinator;
use crate::fleet::{NoClass, WorkerClass};

impl Coordinator {
    /// The class that serves the request's model.
    ///
    /// # Errors
    /// [`NoClass`] if no worker serves it by then.
    pub(super) async fn class_for(
        &self,
        request: &ScoreRequest,
        deadline: Instant,
    ) -> Result<WorkerClass, NoClass> {
        let left = || deadline.saturating_duration_since(Instant::now());
        let fleet = &self.inner.fleet;
        let model = request.model.as_deref();
        match fleet.wait_for_class(model, Duration::ZERO).await {
            Err(NoClass::NoWorker { .. } | NoClass::UnknownModel { .. }) => {}
            settled => return settled,
        }
        // Counts as demand until a worker is present: that is what makes an autoscaler start one.
        match self.inner.admission.awaited().wait(model, extent(request).n_samples) {
            Some(_awaiting) => fleet.wait_for_model(model, left()).await,
            None => fleet.wait_for_class(model, self.inner.config.worker_wait.min(left())).await,
        }
    }
}
