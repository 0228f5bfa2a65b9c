//! Sizes that follow from a model's shape, and which of them the card's kernels can run. Pure.

use crate::config::CardWeights;
use crate::model::Shape;
use jury_kernels::cuda::{AttentionSizes, HEAD_SIZES, LATENT_SIZES, MOST_EXPERTS, MOST_USED};

/// Alignment of matrix sizes, in elements: 16 bytes of bfloat16.
const ALIGNED: usize = 8;
/// Alignment for matrices of experts and single heads, and for all 8-bit ones: the inputs that a lane multiplies at
/// once.
const ALIGNED_OWN: usize = 16;

/// Explains why the card's kernels cannot run a shape.
pub(crate) fn runnable(shape: &Shape, kind: CardWeights) -> Result<(), String> {
    runnable_attention(shape)?;
    let aligned = match kind {
        CardWeights::Bfloat16 if shape.experts.is_none() => ALIGNED,
        CardWeights::Bfloat16 | CardWeights::Int8 => ALIGNED_OWN,
    };
    let mut sizes = vec![("width", shape.width, aligned), ("hidden size", shape.hidden, aligned)];
    if let Some(experts) = &shape.experts {
        sizes.push(("hidden size of experts", experts.hidden, ALIGNED_OWN));
        sizes.push(("number of experts", experts.count, ALIGNED));
        let (count, used) = (experts.count, experts.used);
        if count > MOST_EXPERTS || used > MOST_USED {
            return Err(format!(
                "{used} of {count} experts; the kernels of CUDA cards have {MOST_USED} of {MOST_EXPERTS} at most; \
                 take --device cpu"
            ));
        }
    }
    match sizes.into_iter().find(|(_, size, aligned)| !size.is_multiple_of(*aligned)) {
        None => Ok(()),
        Some((what, size, aligned)) => {
            Err(format!("{what} of {size}, which is no multiple of {aligned}"))
        }
    }
}

fn runnable_attention(shape: &Shape) -> Result<(), String> {
    let Shape { key_size, value_size, .. } = shape;
    let Some(latent) = &shape.latent else {
        if key_size == value_size && HEAD_SIZES.contains(key_size) {
            return Ok(());
        }
        return Err(format!(
            "keys of {key_size} and values of {value_size} elements; the kernels of CUDA cards have heads of \
             {HEAD_SIZES:?}; take --device cpu"
        ));
    };
    if latent.query_rank.is_some() {
        return Err(
            "queries that go through two matrices (q_lora_rank) on a CUDA card; take --device cpu"
                .to_owned(),
        );
    }
    let (rank, rope) = (latent.rank, latent.rope_size);
    if !LATENT_SIZES.contains(&(rank, rope)) {
        return Err(format!(
            "a latent vector of {rank} with {rope} turned elements; the kernels of CUDA cards have {LATENT_SIZES:?}; take \
             --device cpu"
        ));
    }
    let own = [latent.nope_size, latent.value_size];
    match own.into_iter().find(|size| !size.is_multiple_of(ALIGNED_OWN)) {
        None => Ok(()),
        Some(size) => {
            Err(format!("heads of {size} elements, which is no multiple of {ALIGNED_OWN}"))
        }
    }
}

/// The attention sizes that the kernels are compiled for.
pub(crate) fn attention(shape: &Shape) -> AttentionSizes {
    match &shape.latent {
        None => AttentionSizes::Heads(shape.key_size),
        Some(latent) => AttentionSizes::Latent { rank: latent.rank, rope: latent.rope_size },
    }
}

/// Outputs of the head, padded.
pub(crate) fn padded_outputs(shape: &Shape) -> usize {
    shape.outputs.next_multiple_of(ALIGNED)
}

/// Columns of a row of queries, keys and values; for latent attention, of queries, latent vector and the key's rotated
/// part.
pub(crate) fn projected(shape: &Shape) -> usize {
    match &shape.latent {
        None => (shape.heads + 2 * shape.kv_heads) * shape.key_size,
        Some(latent) => shape.heads * latent.query_size() + shape.key_size,
    }
}

/// Columns of a row of queries as attention reads them.
pub(crate) fn queries(shape: &Shape) -> usize {
    shape.heads * shape.key_size
}

/// Columns of a row of attention outputs.
pub(crate) fn attended(shape: &Shape) -> usize {
    shape.heads * shape.value_size
}

/// The columns of all heads' values if attended latent vectors pass through another matrix; otherwise 0.
pub(crate) fn expanded(shape: &Shape) -> usize {
    shape.latent.map_or(0, |latent| shape.heads * latent.value_size)
}

/// Inputs of attention's output projection.
pub(crate) fn output_inputs(shape: &Shape) -> usize {
    if shape.latent.is_some() { expanded(shape) } else { attended(shape) }
}

/// The largest inner layer of the networks that see every token.
pub(crate) fn dense_hidden(shape: &Shape) -> usize {
    let Some(experts) = &shape.experts else { return shape.hidden };
    let dense = if experts.dense_layers > 0 { shape.hidden } else { 0 };
    dense.max(experts.shared * experts.hidden)
}

/// Weights of the largest matrix that is multiplied as a whole with rows of prompts.
pub(crate) fn largest_matrix(shape: &Shape) -> usize {
    let rows = [projected(shape), output_inputs(shape), 2 * dense_hidden(shape)];
    shape.width * rows.into_iter().fold(0, usize::max)
}

/// Weights of all layers' matrices: those stored in the requested type, and those that are always in bfloat16.
pub(crate) fn layer_weights(shape: &Shape) -> [u64; 2] {
    let attention = shape.width * (projected(shape) + output_inputs(shape));
    let ups = shape
        .latent
        .map_or(0, |latent| shape.heads * latent.rank * (latent.nope_size + latent.value_size));
    let dense = 3 * shape.width * shape.hidden;
    let (mut kept, mut rounded) = (0, 0);
    for layer in 0..shape.layers {
        let experts = shape.experts.as_ref().filter(|_| shape.has_experts(layer));
        let (feed, router) = experts.map_or((dense, 0), |experts| {
            let networks = experts.count + experts.shared;
            (3 * shape.width * experts.hidden * networks, shape.width * experts.count)
        });
        kept += (attention + feed) as u64;
        rounded += (ups + router) as u64;
    }
    [kept, rounded]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// DeepSeek-V2-Lite, the base of DeepSeek-GRM-16B; `queries` is the rank of its queries' two matrices.
    pub(crate) fn deepseek_v2_lite(queries: &str) -> Shape {
        Shape::of_text(&format!(
            r#"{{"model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944,
            "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
            "kv_lora_rank": 512, "q_lora_rank": {queries}, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
            "v_head_dim": 128, "first_k_dense_replace": 1, "n_routed_experts": 64, "num_experts_per_tok": 6,
            "n_shared_experts": 2, "moe_intermediate_size": 1408, "norm_topk_prob": false,
            "routed_scaling_factor": 1.0, "vocab_size": 102400, "max_position_embeddings": 163840,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
            "rope_scaling": {{"type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
                "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1}}}}"#
        ))
    }

    #[test]
    fn the_paper_s_16b_runs_in_16_and_in_8_bits() {
        let shape = deepseek_v2_lite("null");
        for kind in [CardWeights::Bfloat16, CardWeights::Int8] {
            assert_eq!(runnable(&shape, kind), Ok(()));
        }
        assert_eq!(projected(&shape), 16 * 192 + 576);
        assert_eq!(shape.stored(), [576, 0]);
        assert_eq!([attended(&shape), output_inputs(&shape)], [16 * 512, 16 * 128]);
        assert_eq!(dense_hidden(&shape), 10_944);
    }

    #[test]
    fn what_has_no_kernel_is_refused_with_a_way_out() {
        let refused = |shape: &Shape| runnable(shape, CardWeights::Bfloat16).unwrap_err();
        let mut shape = deepseek_v2_lite("1536");
        assert!(refused(&shape).contains("q_lora_rank"), "{}", refused(&shape));
        shape = deepseek_v2_lite("null");
        shape.latent.as_mut().unwrap().rank = 256;
        assert!(refused(&shape).contains("take --device cpu"), "{}", refused(&shape));
        shape = deepseek_v2_lite("null");
        shape.experts.as_mut().unwrap().count = 512;
        assert!(refused(&shape).contains("6 of 512 experts"), "{}", refused(&shape));
        shape = deepseek_v2_lite("null");
        shape.latent = None;
        assert!(refused(&shape).contains("keys of 576 and values of 512"), "{}", refused(&shape));
    }
}
