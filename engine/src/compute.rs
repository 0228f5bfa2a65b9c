//! Who computes a step: this process's own kernels, or a candle device. Both take the same batches and pages.

use crate::config::{DeviceKind, EngineConfig};
#[cfg(feature = "candle")]
use crate::device::DeviceModel;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::machine;
use crate::model::forward::{Batch, Forward};
use crate::model::kv::KvStore;
use crate::model::{Shape, Weights};
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::thread_pool::ThreadPool;

/// Changes whenever the same model and prompt would give other bits. All kernel levels give equal bits (a test
/// holds that), so the class does not name them.
const OWN_NUMERICS: &str = "cpu-a8g32-kv8-v5";
/// Cache that is useful at all, in bytes; the default budget is never smaller.
const LEAST_DEFAULT_BUDGET_BYTES: u64 = 256 << 20;
/// Default budget on a GPU, whose free memory is not known here.
const DEFAULT_GPU_BUDGET_BYTES: u64 = 2 << 30;

/// A loaded model's arithmetic.
#[derive(Debug)]
pub(crate) enum Compute {
    Own {
        weights: Box<Weights>,
        forward: Box<Forward>,
    },
    #[cfg(feature = "candle")]
    Device(Box<DeviceModel>),
}

/// Bytes for keys and values that the configuration grants.
pub(crate) fn kv_budget_bytes(config: &EngineConfig) -> u64 {
    config.kv_budget_bytes.unwrap_or_else(|| match config.device {
        DeviceKind::Cpu | DeviceKind::CandleCpu => {
            (machine::available_memory_bytes() / 4).max(LEAST_DEFAULT_BUDGET_BYTES)
        }
        DeviceKind::Cuda(_) | DeviceKind::Metal(_) => DEFAULT_GPU_BUDGET_BYTES,
    })
}

// === impl Compute ===

impl Compute {
    /// Loads the weights to where they are used.
    pub(crate) fn load(
        kind: DeviceKind,
        files: &ModelFiles,
        shape: &Shape,
        level: SimdLevel,
    ) -> Result<Compute, LoadError> {
        match kind {
            DeviceKind::Cpu => Ok(Compute::Own {
                weights: Box::new(Weights::load(files, shape)?),
                forward: Box::new(Forward::new(level)),
            }),
            #[cfg(feature = "candle")]
            _ => Ok(Compute::Device(Box::new(DeviceModel::load(kind, files, shape)?))),
            #[cfg(not(feature = "candle"))]
            _ => Err(LoadError::Device(format!("{kind:?} is not built in"))),
        }
    }

    /// The store that hands out pages, with their memory where this process computes itself.
    pub(crate) fn store(&self, shape: &Shape, budget_bytes: u64) -> KvStore {
        match self {
            Compute::Own { .. } => KvStore::new(shape, budget_bytes),
            #[cfg(feature = "candle")]
            Compute::Device(_) => KvStore::numbers_only(shape, budget_bytes),
        }
    }

    pub(crate) fn numerics(&self) -> &str {
        match self {
            Compute::Own { .. } => OWN_NUMERICS,
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.numerics(),
        }
    }

    /// Whether bits depend on nothing but prompt, settings and seed.
    pub(crate) fn is_bitwise(&self) -> bool {
        matches!(self, Compute::Own { .. })
    }

    /// Whether rows may have adapters.
    pub(crate) fn takes_adapters(&self) -> bool {
        matches!(self, Compute::Own { .. })
    }

    /// Computes the batch: stores its keys and values, leaves the logits.
    pub(crate) fn run(
        &mut self,
        pool: &mut ThreadPool,
        shape: &Shape,
        store: &mut KvStore,
        batch: &Batch,
    ) {
        match self {
            Compute::Own { weights, forward } => forward.run(pool, shape, weights, store, batch),
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.run(batch),
        }
    }

    /// The logits of the last batch, [`Forward::logits_stride`] a row, for the rows that wanted them, in order.
    pub(crate) fn logits(&self) -> &[f32] {
        match self {
            Compute::Own { forward, .. } => forward.logits(),
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.logits(),
        }
    }

    /// The rows that the head was multiplied with to give [`Compute::logits`], the model's width each.
    pub(crate) fn last_hidden(&self) -> &[f32] {
        match self {
            Compute::Own { forward, .. } => forward.last_hidden(),
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.last_hidden(),
        }
    }
}
