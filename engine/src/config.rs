//! Engine settings; every default is defined here.

/// Where the model's arithmetic happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The first NVIDIA card if there is one, the model fits on it and the kernels support it; otherwise the CPU.
    Auto,
    /// This process's own CPU kernels.
    #[default]
    Cpu,
    /// candle's CPU code (cargo feature `candle`): slow; the reference for GPU results.
    CandleCpu,
    /// An NVIDIA card by its ordinal. CUDA libraries are loaded at run time.
    Cuda(usize),
    /// An Apple GPU by its ordinal (cargo feature `metal`).
    Metal(usize),
}

/// How weights are stored on an NVIDIA card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CardWeights {
    /// bfloat16.
    #[default]
    Bfloat16,
    /// 8 bits, with one scale for every 128 inputs of an output: half the memory, and about half the time of a step of
    /// few samples. The embedding table stays in bfloat16.
    Int8,
}

/// How much of a card's memory keys and values take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvRoom {
    /// All memory that is free once the model is loaded.
    #[default]
    All,
    /// Enough for the longest context plus the prompts of two steps. This suffices when samples end with their prompt,
    /// as those of a Meta RM do, and leaves the rest to models loaded afterwards.
    OneContext,
}

/// How to load and run a model.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Where to compute.
    pub device: DeviceKind,
    /// How weights are stored on a card; other devices use the file's types.
    pub card_weights: CardWeights,
    /// Compute threads; `None` means as many as affinity and cgroup allow.
    pub threads: Option<usize>,
    /// Whether attention on a card reads the tokens that samples share once for all of them, rather than once for each
    /// (for measurements). The results are bit-identical.
    pub card_shares: bool,
    /// Upper bound of the context, in tokens; `None` means what the model was trained for.
    pub context_limit: Option<usize>,
    /// Samples that decode at once; others wait until one of them ends. `None` means the device's default: 256 on an
    /// NVIDIA card, otherwise 32.
    pub max_sequences: Option<usize>,
    /// Most prompt tokens computed in one step. While samples decode, the engine takes fewer, see
    /// [`crate::Engine::step`]. `None` means the device's default: 2048 on an NVIDIA card, otherwise 256.
    pub prefill_chunk: Option<usize>,
    /// Memory for keys and values, in bytes; `None` means a quarter of the available memory, or all that is left on an
    /// NVIDIA card.
    pub kv_budget_bytes: Option<u64>,
    /// How much of an NVIDIA card keys and values take, within the budget. Ignored on other devices.
    pub kv_room: KvRoom,
    /// Whether steps of few samples also compute drafts of their next tokens, looked up in the preceding text. Drafts
    /// make samples finish sooner and do not change them; candle devices never draft.
    pub drafts: bool,
}

/// Samples that decode at once: a card's step hardly slows down with this many, a CPU's does.
const CARD_SEQUENCES: usize = 256;
const CPU_SEQUENCES: usize = 32;
/// Prompt tokens per step: large enough for a card's products to run near its limit, whereas a CPU's caches must still
/// hold the rows.
const CARD_PREFILL_CHUNK: usize = 2048;
const CPU_PREFILL_CHUNK: usize = 256;

// === impl DeviceKind ===

impl DeviceKind {
    fn is_card(self) -> bool {
        matches!(self, DeviceKind::Cuda(_))
    }
}

impl std::fmt::Display for CardWeights {
    /// Formats as `--card-weights` accepts it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CardWeights::Bfloat16 => "bf16",
            CardWeights::Int8 => "int8",
        })
    }
}

impl std::fmt::Display for DeviceKind {
    /// Formats as `--device` accepts it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceKind::Auto => f.write_str("auto"),
            DeviceKind::Cpu => f.write_str("cpu"),
            DeviceKind::CandleCpu => f.write_str("candle-cpu"),
            DeviceKind::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            DeviceKind::Metal(ordinal) => write!(f, "metal:{ordinal}"),
        }
    }
}

// === impl EngineConfig ===

impl EngineConfig {
    /// Limit in tokens for a prompt plus its longest sample, for a model trained with a context of `trained` tokens.
    pub(crate) fn context_of(&self, trained: usize) -> usize {
        self.context_limit.map_or(trained, |limit| limit.min(trained))
    }

    /// Samples that decode at once on `device`, which must not be [`DeviceKind::Auto`].
    pub(crate) fn sequences_on(&self, device: DeviceKind) -> usize {
        let default = if device.is_card() { CARD_SEQUENCES } else { CPU_SEQUENCES };
        self.max_sequences.unwrap_or(default).max(1)
    }

    /// Most tokens whose keys and values a card stores, for a model trained with a context of `trained` tokens; `None`:
    /// as many as fit.
    pub(crate) fn card_tokens(&self, trained: usize) -> Option<usize> {
        match self.kv_room {
            KvRoom::All => None,
            // One step may be in progress while the next one is launched.
            KvRoom::OneContext => {
                let step = self.prefill_chunk_on(DeviceKind::Cuda(0));
                Some(self.context_of(trained) + 2 * step)
            }
        }
    }

    /// Most prompt tokens of a step on this device.
    pub(crate) fn prefill_chunk_on(&self, device: DeviceKind) -> usize {
        let default = if device.is_card() { CARD_PREFILL_CHUNK } else { CPU_PREFILL_CHUNK };
        self.prefill_chunk.unwrap_or(default).max(1)
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            device: DeviceKind::Cpu,
            card_weights: CardWeights::Bfloat16,
            card_shares: true,
            threads: None,
            context_limit: None,
            max_sequences: None,
            prefill_chunk: None,
            kv_budget_bytes: None,
            kv_room: KvRoom::All,
            drafts: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_depends_on_the_device_that_is_taken() {
        let silent = EngineConfig::default();
        let sizes = |config: &EngineConfig, device| {
            (config.sequences_on(device), config.prefill_chunk_on(device))
        };
        assert_eq!(sizes(&silent, DeviceKind::Cuda(1)), (256, 2048));
        assert_eq!(sizes(&silent, DeviceKind::Cpu), (32, 256));
        let said = EngineConfig { max_sequences: Some(5), prefill_chunk: Some(0), ..silent };
        assert_eq!(sizes(&said, DeviceKind::Cuda(0)), (5, 1));
    }

    #[test]
    fn room_for_one_context_has_room_for_steps_beside_it() {
        let whole = EngineConfig::default();
        assert_eq!(whole.card_tokens(32_768), None);
        let modest = EngineConfig { kv_room: KvRoom::OneContext, ..whole };
        assert_eq!(modest.card_tokens(32_768), Some(32_768 + 4_096));
        let short = EngineConfig { context_limit: Some(1_000), ..modest };
        assert_eq!(short.card_tokens(32_768), Some(5_096));
    }
}
