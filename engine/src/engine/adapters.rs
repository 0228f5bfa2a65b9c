//! Loads and unloads adapters at run time.

use std::sync::Arc;

use super::Engine;
use crate::adapter::{self, Adapter, AdapterId};
use crate::error::AdapterError;
use crate::model::adapted::Adapted;

// === impl Engine ===

impl Engine {
    /// Fits an adapter to the model and packs it for the kernels; the model itself is unchanged. It applies to groups
    /// submitted with it ([`Engine::submit_adapted`]). Takes four bytes of memory per number, with ranks rounded up to
    /// 16.
    ///
    /// # Errors
    /// The adapter is for another model or adapts unsupported projections, or the device does not support adapters.
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

    /// Unloads an adapter and drops the prompts computed with it. Running groups keep it until they end; new ones
    /// cannot use it.
    ///
    /// # Errors
    /// The adapter is not loaded.
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
