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
    /// In 8 bits, with a scale for every 128 inputs of an output: half the memory, and half the time of a step of few samples; prompts take
    /// longer. The embedding table stays in bfloat16.
    Int8,
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
    /// Samples that decode at once; more wait until one of them ends.
    pub max_sequences: usize,
    /// Most prompt tokens computed in one step. Beside decoding samples the engine takes fewer by itself, see
    /// [`crate::Engine::step`].
    pub prefill_chunk: usize,
    /// Memory for keys and values, in bytes; `None` means a quarter of the available memory, or what an
    /// NVIDIA card has left.
    pub kv_budget_bytes: Option<u64>,
    /// Whether a step of few samples also computes drafts of their next tokens, from what stands before. What they say
    /// does not change by it, only how soon; candle devices never draft.
    pub drafts: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            device: DeviceKind::Cpu,
            card_weights: CardWeights::Bfloat16,
            card_shares: true,
            threads: None,
            context_limit: None,
            max_sequences: 32,
            prefill_chunk: 256,
            kv_budget_bytes: None,
            drafts: true,
        }
    }
}
