//! What the caller may decide about an engine; every default lives here.

/// Where the model's arithmetic happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The first NVIDIA card, if there is one that the model fits and the kernels know, else the CPU.
    Auto,
    /// This process's own CPU kernels.
    #[default]
    Cpu,
    /// candle's CPU code (cargo feature `candle`): slow, the reference for what GPUs compute.
    CandleCpu,
    /// An NVIDIA card by its ordinal. Its libraries are opened at run time.
    Cuda(usize),
    /// An Apple GPU by its ordinal (cargo feature `metal`).
    Metal(usize),
}

/// How weights are kept on an NVIDIA card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CardWeights {
    /// In bfloat16.
    #[default]
    Bfloat16,
    /// In 8 bits, with a scale for every 128 inputs of an output: half the memory, and about half the time of a step of few samples. The
    /// embedding table stays in bfloat16.
    Int8,
}

/// How much of a card keys and values take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvRoom {
    /// All that is left when the model is there.
    #[default]
    All,
    /// What the longest context takes, and the prompts of two steps: enough where samples end with their prompt, as those of a Meta RM do.
    /// The rest is left to who is loaded afterwards.
    OneContext,
}

/// How to load and run a model.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Where to compute.
    pub device: DeviceKind,
    /// How weights are kept on a card; elsewhere they stay as the file has them.
    pub card_weights: CardWeights,
    /// Threads that compute; `None` means as many as affinity and cgroup allow.
    pub threads: Option<usize>,
    /// Whether attention on a card reads what samples share once for all of them; else once for each, for measurements. Bits stay the same.
    pub card_shares: bool,
    /// Upper bound of the context, in tokens; `None` means what the model was trained for.
    pub context_limit: Option<usize>,
    /// Samples that decode at once; more wait until one of them ends. `None` means what suits the device that is taken:
    /// 256 on an NVIDIA card, else 32.
    pub max_sequences: Option<usize>,
    /// Most prompt tokens computed in one step. Beside decoding samples the engine takes fewer by itself, see
    /// [`crate::Engine::step`]. `None` means what suits the device: 2048 on an NVIDIA card, else 256.
    pub prefill_chunk: Option<usize>,
    /// Memory for keys and values, in bytes; `None` means a quarter of the available memory, or what an
    /// NVIDIA card has left.
    pub kv_budget_bytes: Option<u64>,
    /// How much of an NVIDIA card keys and values take, within the budget. Elsewhere it makes no difference.
    pub kv_room: KvRoom,
    /// Whether a step of few samples also computes drafts of their next tokens, from what stands before. What they say
    /// does not change by it, only how soon; candle devices never draft.
    pub drafts: bool,
}

/// Samples that decode at once: a card's step takes hardly longer with as many, and a CPU's step does.
const CARD_SEQUENCES: usize = 256;
const CPU_SEQUENCES: usize = 32;
/// Prompt tokens of a step: where a card's products are near its limit, and a CPU's caches still hold their rows.
const CARD_PREFILL_CHUNK: usize = 2048;
const CPU_PREFILL_CHUNK: usize = 256;

// === impl DeviceKind ===

impl DeviceKind {
    fn is_card(self) -> bool {
        matches!(self, DeviceKind::Cuda(_))
    }
}

impl std::fmt::Display for CardWeights {
    /// As `--card-weights` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CardWeights::Bfloat16 => "bf16",
            CardWeights::Int8 => "int8",
        })
    }
}

impl std::fmt::Display for DeviceKind {
    /// As `--device` takes it.
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
    /// Tokens that a prompt and its longest sample may have together, with a model that was trained for so many.
    pub(crate) fn context_of(&self, trained: usize) -> usize {
        self.context_limit.map_or(trained, |limit| limit.min(trained))
    }

    /// Samples that decode at once on this device, which is one that was taken: never [`DeviceKind::Auto`].
    pub(crate) fn sequences_on(&self, device: DeviceKind) -> usize {
        let default = if device.is_card() { CARD_SEQUENCES } else { CPU_SEQUENCES };
        self.max_sequences.unwrap_or(default).max(1)
    }

    /// Most tokens whose keys and values a card keeps, with a model that was trained for so many; `None`: as many as find room.
    pub(crate) fn card_tokens(&self, trained: usize) -> Option<usize> {
        match self.kv_room {
            KvRoom::All => None,
            // One step may be under way while the next one is launched.
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
