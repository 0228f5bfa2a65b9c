//! Where a step is computed: this process's own kernels, an NVIDIA card, or a candle device. All take the same batches
//! and pages.

use crate::config::{DeviceKind, EngineConfig};
use crate::cuda::CardModel;
#[cfg(feature = "candle")]
use crate::device::DeviceModel;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::machine;
use crate::model::forward::{Batch, Forward};
use crate::model::kv::KvStore;
use crate::model::{Shape, Weights};
use crate::outputs::Outputs;
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::thread_pool::ThreadPool;

/// Changes whenever the same model and prompt would give different bits. All kernel levels give equal bits (there is a
/// test for that), so the class does not include the level.
const OWN_NUMERICS: &str = "cpu-a8g32-kv8-v5";
/// The smallest useful cache, in bytes; the default budget is never below it.
const LEAST_DEFAULT_BUDGET_BYTES: u64 = 256 << 20;
/// Default budget on a candle GPU, whose free memory cannot be queried here.
#[cfg(feature = "candle")]
const DEFAULT_GPU_BUDGET_BYTES: u64 = 2 << 30;

/// A loaded model's arithmetic.
#[derive(Debug)]
pub(crate) enum Compute {
    Own {
        weights: Box<Weights>,
        forward: Box<Forward>,
    },
    Card(Box<CardModel>),
    #[cfg(feature = "candle")]
    Device(Box<DeviceModel>),
}

/// Bytes of this process's memory that the configuration allows for keys and values.
pub(crate) fn host_budget_bytes(config: &EngineConfig) -> u64 {
    let default = || (machine::available_memory_bytes() / 4).max(LEAST_DEFAULT_BUDGET_BYTES);
    config.kv_budget_bytes.unwrap_or_else(default)
}

// === impl Compute ===

impl Compute {
    /// Loads the weights onto the device that uses them.
    pub(crate) fn load(
        config: &EngineConfig,
        files: &ModelFiles,
        shape: &Shape,
        level: SimdLevel,
    ) -> Result<Compute, LoadError> {
        match config.device {
            DeviceKind::Auto => Compute::load_anywhere(config, files, shape, level),
            DeviceKind::Cpu => Ok(Compute::Own {
                weights: Box::new(Weights::load(files, shape)?),
                forward: Box::new(Forward::new(level)),
            }),
            DeviceKind::Cuda(ordinal) => {
                Ok(Compute::Card(Box::new(CardModel::load(ordinal, files, shape, config)?)))
            }
            #[cfg(feature = "candle")]
            kind => Ok(Compute::Device(Box::new(DeviceModel::load(kind, files, shape)?))),
            #[cfg(not(feature = "candle"))]
            kind => Err(LoadError::Device(format!("{kind:?} is not built in"))),
        }
    }

    /// Loads onto the first card; if there is none, or it cannot run the model, into this process's memory.
    fn load_anywhere(
        config: &EngineConfig,
        files: &ModelFiles,
        shape: &Shape,
        level: SimdLevel,
    ) -> Result<Compute, LoadError> {
        if crate::cuda::has_card() {
            let card = EngineConfig { device: DeviceKind::Cuda(0), ..config.clone() };
            match Compute::load(&card, files, shape, level) {
                Err(why @ (LoadError::Device(_) | LoadError::Unsupported { .. })) => {
                    tracing::warn!(%why, "the card is not used, but the CPU; --device cuda:0 makes this an error");
                }
                loaded => return loaded,
            }
        }
        let cpu = EngineConfig { device: DeviceKind::Cpu, ..config.clone() };
        Compute::load(&cpu, files, shape, level)
    }

    /// The store that hands out pages. It owns their memory when this process computes.
    pub(crate) fn store(&self, shape: &Shape, config: &EngineConfig) -> KvStore {
        match self {
            Compute::Own { .. } => KvStore::new(shape, host_budget_bytes(config)),
            Compute::Card(model) => KvStore::of_count(model.pages()),
            #[cfg(feature = "candle")]
            Compute::Device(_) => {
                let default = match config.device {
                    DeviceKind::Metal(_) => DEFAULT_GPU_BUDGET_BYTES,
                    _ => host_budget_bytes(config),
                };
                KvStore::numbers_only(shape, config.kv_budget_bytes.unwrap_or(default))
            }
        }
    }

    /// The device in use: never [`DeviceKind::Auto`].
    pub(crate) fn device(&self) -> DeviceKind {
        match self {
            Compute::Own { .. } => DeviceKind::Cpu,
            Compute::Card(model) => DeviceKind::Cuda(model.card().ordinal),
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.kind(),
        }
    }

    /// The device in words: a card's name, or the CPU with the kernels' instruction set.
    pub(crate) fn device_name(&self, level: SimdLevel) -> String {
        match self {
            Compute::Own { .. } => format!("cpu ({})", level.name()),
            Compute::Card(model) => {
                format!("cuda:{} ({})", model.card().ordinal, model.card().name)
            }
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.kind().to_string(),
        }
    }

    pub(crate) fn numerics(&self) -> &str {
        match self {
            Compute::Own { .. } => OWN_NUMERICS,
            Compute::Card(model) => model.numerics(),
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.numerics(),
        }
    }

    /// Whether bits depend only on prompt, settings and seed.
    pub(crate) fn is_bitwise(&self) -> bool {
        match self {
            Compute::Own { .. } => true,
            Compute::Card(model) => model.is_bitwise(),
            #[cfg(feature = "candle")]
            Compute::Device(_) => false,
        }
    }

    /// Whether drafting is possible: steps of few rows have spare capacity, and drafts do not change the output bits.
    pub(crate) fn drafts(&self) -> bool {
        matches!(self, Compute::Own { .. })
    }

    /// Bytes that one token's keys and values take.
    pub(crate) fn kv_bytes_per_token(&self, shape: &Shape) -> u64 {
        match self {
            Compute::Own { .. } => crate::model::kv_bytes_per_token(shape),
            Compute::Card(model) => model.kv_bytes_per_token(),
            #[cfg(feature = "candle")]
            Compute::Device(_) => shape.kv_floats_per_token() as u64 * 4,
        }
    }

    /// Memory taken on the card.
    pub(crate) fn card_memory(&self) -> Option<crate::cuda::CardMemory> {
        match self {
            Compute::Card(model) => Some(model.memory()),
            _ => None,
        }
    }

    /// Whether rows may use adapters.
    pub(crate) fn takes_adapters(&self) -> bool {
        matches!(self, Compute::Own { .. })
    }

    /// Whether a step may be launched before the previous one has been read.
    pub(crate) fn runs_ahead(&self) -> bool {
        matches!(self, Compute::Card(_))
    }

    /// Computes the batch, or starts to: stores its keys and values and leaves the logits. On a card up to two steps
    /// may be in progress.
    pub(crate) fn launch(
        &mut self,
        pool: &mut ThreadPool,
        shape: &Shape,
        store: &mut KvStore,
        batch: &Batch,
    ) {
        match self {
            Compute::Own { weights, forward } => forward.run(pool, shape, weights, store, batch),
            Compute::Card(model) => model.launch(batch),
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.run(batch),
        }
    }

    /// Whether a token's embedding contains only finite numbers. If not, no sample may be generated from it: the cache
    /// stores keys and values as codes, which cannot represent NaN. On other devices they are floats, and NaN
    /// propagates to every later row.
    pub(crate) fn embeds(&mut self, shape: &Shape, token: u32) -> bool {
        match self {
            Compute::Own { weights, .. } => {
                weights.embedding.is_finite(token, shape.embedding_scale)
            }
            _ => true,
        }
    }

    /// Waits for the oldest step in progress: later queries are about that step.
    pub(crate) fn land(&mut self) {
        if let Compute::Card(model) = self {
            model.land();
        }
    }

    /// Why nothing can be computed any more, if so.
    pub(crate) fn lost(&self) -> Option<String> {
        match self {
            Compute::Card(model) => model.lost().map(ToString::to_string),
            _ => None,
        }
    }

    /// The tokens drawn for the last batch's questions, one for each; `None` if the caller draws.
    pub(crate) fn tokens(&self) -> Option<&[Option<u32>]> {
        match self {
            Compute::Card(model) => Some(model.tokens()),
            _ => None,
        }
    }

    /// Logits of the last batch in this process's memory, in order, for the rows that wanted them; a row has
    /// [`Forward::logits_stride`] values.
    pub(crate) fn logits(&self) -> &[f32] {
        match self {
            Compute::Own { forward, .. } => forward.logits(),
            Compute::Card(_) => &[],
            #[cfg(feature = "candle")]
            Compute::Device(model) => model.logits(),
        }
    }

    /// Outputs of one row of the last batch. `row` counts only the rows whose logits were wanted.
    pub(crate) fn outputs(&mut self, shape: &Shape, row: usize) -> Outputs<'_> {
        let (stride, width) = (Forward::logits_stride(shape), shape.width);
        let (logits, hidden) = match self {
            Compute::Own { forward, .. } => (forward.logits(), forward.last_hidden()),
            Compute::Card(model) => return Outputs::Card { model, row },
            #[cfg(feature = "candle")]
            Compute::Device(model) => (model.logits(), model.last_hidden()),
        };
        Outputs::Host {
            logits: &logits[row * stride..][..stride],
            hidden: &hidden[row * width..][..width],
        }
    }
}
