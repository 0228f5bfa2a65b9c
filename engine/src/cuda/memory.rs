//! How a card's memory is divided. Pure.

use super::experts::ExpertBuffers;
use super::sizes::{
    attended, dense_hidden, expanded, largest_matrix, layer_weights, padded_outputs, projected,
    queries,
};
use super::tables::{Cut, LEAST_RANGE};
use crate::config::{CardWeights, DeviceKind, EngineConfig};
use crate::model::Shape;
use crate::model::kv::PAGE_TOKENS;
use jury_kernels::cuda::EIGHT_GROUP;

/// Memory besides weights, buffers and pages: the context, compiled kernels, recorded steps and the products'
/// workspace.
const RESERVE_BYTES: u64 = 768 << 20;
/// Tokens that a sample's read-out usually feeds at once.
const READOUT_ROWS: usize = 2;

/// Numbers of rows that buffers are sized for; they grow if a batch needs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Rows of a batch.
    pub(crate) rows: usize,
    /// Rows whose logits are wanted.
    pub(crate) wanted: usize,
    /// Rows of partial attention results to merge.
    pub(crate) parts: usize,
    /// Entries of the lists of slots.
    pub(crate) slots: usize,
}

/// Memory that a model takes on a card, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) weights: u64,
    pub(crate) buffers: u64,
    /// Elements of a page's keys, and of its values, in all layers.
    pub(crate) page_elements: [usize; 2],
    /// A page of keys and values.
    pub(crate) page: u64,
    /// Growth of the buffers when a page's tokens are attended to: each range of them leaves a part.
    page_parts: u64,
}

/// Size of a row's partial attention result for one range of tokens: sums, and two numbers per head.
fn part_bytes(shape: &Shape) -> usize {
    4 * (attended(shape) + 2 * shape.heads)
}

// === impl Capacity ===

impl Capacity {
    pub(crate) fn of(shape: &Shape, config: &EngineConfig) -> Capacity {
        // Any card gives the same result here.
        let card = DeviceKind::Cuda(0);
        let samples = config.sequences_on(card);
        let context = config.context_of(shape.context_length);
        Capacity {
            rows: config.prefill_chunk_on(card) + samples * READOUT_ROWS,
            wanted: samples + samples.div_ceil(8),
            // Of the prompt and of a sample's own tokens.
            parts: samples * (Cut::of(shape, true).most_ranges + 1),
            slots: context.min(8192) * 4,
        }
    }

    /// The larger of the two, field by field.
    pub(crate) fn with(self, other: Capacity) -> Capacity {
        Capacity {
            rows: self.rows.max(other.rows),
            wanted: self.wanted.max(other.wanted),
            parts: self.parts.max(other.parts),
            slots: self.slots.max(other.slots),
        }
    }

    /// Bytes of the buffers.
    pub(crate) fn bytes(&self, shape: &Shape) -> u64 {
        let branch = if shape.architecture.has_post_norms() { shape.width } else { 0 };
        let bf16 = shape.width
            + projected(shape)
            + queries(shape)
            + attended(shape)
            + expanded(shape)
            + 3 * dense_hidden(shape);
        let row = 2 * bf16 + 4 * (shape.width + branch) + ExpertBuffers::bytes_a_row(shape);
        // Two steps may be in progress, with separate outputs.
        let wanted = 2 * shape.width + 2 * (4 * (shape.width + padded_outputs(shape)) + 4);
        let part = part_bytes(shape);
        let Capacity { rows, wanted: wanted_rows, parts, slots } = *self;
        (rows * row + wanted_rows * wanted + parts * part + slots * 4) as u64
    }
}

// === impl Demand ===

impl Demand {
    /// `has_head` says whether the head has its own weights instead of the embedding table's.
    pub(crate) fn of(
        shape: &Shape,
        capacity: &Capacity,
        kind: CardWeights,
        has_head: bool,
    ) -> Demand {
        let head = if has_head { padded_outputs(shape) } else { 0 };
        let [kept, rounded] = layer_weights(shape);
        let kept = kept + (shape.width * head) as u64;
        let kept = match kind {
            CardWeights::Bfloat16 => kept * 2,
            // One byte per weight, and a float per group.
            CardWeights::Int8 => kept + kept * 4 / EIGHT_GROUP as u64,
        };
        let rounded = rounded + (shape.width * shape.vocabulary) as u64;
        let widened = match kind {
            CardWeights::Bfloat16 => 0,
            CardWeights::Int8 => 2 * largest_matrix(shape) as u64,
        };
        let elements = shape.stored().map(|elements| shape.layers * elements * PAGE_TOKENS);
        Demand {
            weights: kept + 2 * rounded,
            buffers: capacity.bytes(shape) + widened,
            page_elements: elements,
            page: 2 * elements.iter().sum::<usize>() as u64,
            // Buffers grow to one and a half times what is needed.
            page_parts: (part_bytes(shape) * PAGE_TOKENS * 3 / (2 * LEAST_RANGE)) as u64,
        }
    }

    /// Bytes that the configuration allows for keys and values of a model trained with a context of `trained` tokens;
    /// `None`: all that is left.
    pub(crate) fn budget(&self, config: &EngineConfig, trained: usize) -> Option<u64> {
        let tokens = config.card_tokens(trained);
        let wanted = tokens.map(|tokens| tokens.div_ceil(PAGE_TOKENS) as u64 * self.page);
        config.kv_budget_bytes.into_iter().chain(wanted).min()
    }

    /// Reports what is missing if `free` bytes are not enough for the model and one page.
    pub(crate) fn check(&self, free: u64) -> Result<(), String> {
        let needed = self.weights + self.buffers + RESERVE_BYTES + self.page;
        if needed <= free {
            return Ok(());
        }
        // In hundredths of a GiB, with needs rounded up and free memory rounded down, so that the two never print the
        // same.
        let hundredths = |bytes: u64| bytes as f64 * 100.0 / f64::from(1u32 << 30);
        let up = |bytes: u64| hundredths(bytes).ceil() / 100.0;
        Err(format!(
            "the model needs {:.2} GiB of the card's memory ({:.2} of weights, {:.2} of buffers, {:.2} in \
             reserve), {:.2} GiB are free; take a smaller model or a larger card",
            up(needed),
            up(self.weights),
            up(self.buffers),
            up(RESERVE_BYTES),
            hundredths(free).floor() / 100.0
        ))
    }

    /// Number of pages that fit into the memory left after weights and buffers, or into the budget, whichever is less.
    pub(crate) fn pages(&self, free: u64, budget: Option<u64>) -> Result<usize, String> {
        // One more is for padding rows.
        let left = free.saturating_sub(RESERVE_BYTES / 2 + self.page);
        let bytes = budget.map_or(left, |budget| budget.min(left));
        let pages = (bytes / self.page).min(left / (self.page + self.page_parts));
        if pages < 1 {
            return Err(format!(
                "{bytes} bytes of the card's memory are left for keys and values, a page of {PAGE_TOKENS} tokens takes {}",
                self.page
            ));
        }
        Ok(pages.min(u64::from(u32::MAX) / PAGE_TOKENS as u64 - 1) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::sizes::tests::deepseek_v2_lite;

    /// What NVIDIA's driver reports for an H100 with 80 GB: 81,559 MiB.
    const H100_BYTES: u64 = 81_559 << 20;

    /// DeepSeek-GRM-27B: a Gemma 2 of 27B.
    fn grm_27b() -> Shape {
        let configuration = r#"{"model_type": "gemma2", "hidden_size": 4608, "intermediate_size": 36864,
            "num_hidden_layers": 46, "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128,
            "vocab_size": 256000, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "query_pre_attn_scalar": 144, "sliding_window": 4096, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh"}"#;
        Shape::of_text(configuration)
    }

    /// Qwen2.5-7B.
    fn qwen_7b() -> Shape {
        let configuration = r#"{"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
            "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
            "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
            "hidden_act": "silu"}"#;
        Shape::of_text(configuration)
    }

    /// With the configuration of a worker on a card.
    fn demand(shape: &Shape, has_head: bool) -> Demand {
        let config = EngineConfig::default();
        Demand::of(shape, &Capacity::of(shape, &config), CardWeights::Bfloat16, has_head)
    }

    #[test]
    fn the_paper_s_27b_fits_a_card_of_80_gb_with_15_gb_for_keys_and_values() {
        let demand = demand(&grm_27b(), false);
        // 27.2 billion weights of 2 bytes.
        assert!((54.0e9..55.0e9).contains(&(demand.weights as f64)), "{demand:?}");
        demand.check(H100_BYTES).unwrap();
        let free = H100_BYTES - demand.weights - demand.buffers;
        let pages = demand.pages(free, None).unwrap() as u64;
        assert!(pages * demand.page >= 15_000_000_000, "{pages} pages of {}", demand.page);
    }

    #[test]
    fn the_paper_s_16b_has_room_for_a_million_tokens_of_latent_vectors() {
        let demand = demand(&deepseek_v2_lite("null"), true);
        // 15.7 billion weights of 2 bytes; 27 layers of 576 elements per token.
        assert!((31.3e9..31.5e9).contains(&(demand.weights as f64)), "{demand:?}");
        assert_eq!(demand.page, 64 * 27 * 576 * 2);
        let pages = demand.pages(H100_BYTES - demand.weights - demand.buffers, None).unwrap();
        let tokens = pages * PAGE_TOKENS;
        assert!((1_670_000..1_690_000).contains(&tokens), "{tokens} tokens");
        assert!(demand.buffers + RESERVE_BYTES < 3_000_000_000, "{demand:?}");
    }

    #[test]
    fn a_full_card_has_room_for_the_parts_of_all_its_tokens() {
        let shape = deepseek_v2_lite("null");
        let demand = demand(&shape, true);
        // An H200's 141 GB.
        let free = 143_771 * (1 << 20) - demand.weights - demand.buffers;
        let pages = demand.pages(free, None).unwrap() as u64;
        let parts = pages * PAGE_TOKENS as u64 / LEAST_RANGE as u64 * part_bytes(&shape) as u64;
        assert!(parts > 400_000_000, "{parts}");
        assert!(pages * demand.page + parts * 3 / 2 + RESERVE_BYTES / 2 <= free, "{pages} pages");
    }

    #[test]
    fn a_7b_takes_two_gigabytes_at_most_beyond_weights_and_pages() {
        let demand = demand(&qwen_7b(), true);
        assert!((15.1e9..15.3e9).contains(&(demand.weights as f64)), "{demand:?}");
        assert!(demand.buffers + RESERVE_BYTES < 2_000_000_000, "{demand:?}");
    }

    #[test]
    fn weights_of_8_bits_take_half_the_memory() {
        let (shape, config) = (qwen_7b(), EngineConfig::default());
        let capacity = Capacity::of(&shape, &config);
        let of = |kind| Demand::of(&shape, &capacity, kind, true).weights as f64;
        let share = of(CardWeights::Int8) / of(CardWeights::Bfloat16);
        // The table stays in bfloat16.
        assert!((0.52..0.56).contains(&share), "{share}");
    }

    #[test]
    fn what_does_not_fit_is_told_with_numbers() {
        let demand = demand(&grm_27b(), false);
        let why = demand.check(24 << 30).unwrap_err();
        assert!(why.contains("50.72 of weights"), "{why}");
        assert!(why.contains("24.00 GiB are free"), "{why}");
        assert!(demand.pages(RESERVE_BYTES / 2 + demand.page, None).is_err());
        assert_eq!(demand.pages(1 << 40, Some(demand.page * 5)).unwrap(), 5);
    }
}
