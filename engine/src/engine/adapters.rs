//! Adapters come and go while the model stays.

use std::sync::Arc;

use super::Engine;
use crate::adapter::{self, Adapter, AdapterId};
use crate::error::AdapterError;
use crate::model::adapted::Adapted;

// === impl Engine ===

impl Engine {
    /// Fits an adapter to the model and packs it for the kernels; the model stays as it is. It takes effect for groups
    /// that name it ([`Engine::submit_adapted`]). Memory: four bytes a number, ranks rounded up to 16.
    ///
    /// # Errors
    /// An adapter for another model or of projections that cannot be adapted, and a device that computes none.
    pub fn load_adapter(&mut self, adapter: &Adapter) -> Result<AdapterId, AdapterError> {
        if !self.compute.takes_adapters() {
            return Err(AdapterError::Device { device: self.compute.numerics().to_owned() });
        }
        let adapted = adapter::fit(adapter, &self.shape)?;
        let id = AdapterId(self.next_adapter);
        self.next_adapter += 1;
        self.adapters.insert(id, Arc::new(adapted));
        tracing::debug!(id = id.0, digest = adapter.digest(), "adapter loaded");
        Ok(id)
    }

    /// Forgets an adapter and the prompts that were computed with it. Groups under way keep it to their end; no new ones
    /// can name it.
    ///
    /// # Errors
    /// An adapter that is not loaded.
    pub fn unload_adapter(&mut self, id: AdapterId) -> Result<(), AdapterError> {
        self.adapters.remove(&id).ok_or(AdapterError::NotLoaded { id: id.0 })?;
        while let Some(page) = self.tree.evict_of(Some(id)) {
            self.store.give_back(page);
        }
        Ok(())
    }

    pub(super) fn adapter(&self, id: AdapterId) -> Result<Arc<Adapted>, AdapterError> {
        self.adapters.get(&id).cloned().ok_or(AdapterError::NotLoaded { id: id.0 })
    }
}
