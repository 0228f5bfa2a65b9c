//! Names of tensors in folders, and what GGUF calls them.
//!
//! One expert of a layer is `blk.0.ffn_gate.7.weight`, as in the first GGUF files of such models; newer ones stack
//! all experts of a layer in one tensor.

use crate::model::Architecture;

/// Where a text model's tensors may be: alone, or as a part of a model that sees pictures too.
const PREFIXES: [&str; 3] = ["language_model.model.", "model.language_model.", "model."];
const HEADS: [&str; 2] = ["lm_head.weight", "language_model.lm_head.weight"];

/// The head of a classifier.
const SCORE: &str = "score.weight";

/// GGUF's name of a tensor; `None` for those that the engine has no use for.
pub(crate) fn canonical(architecture: Architecture, name: &str) -> Option<String> {
    if HEADS.contains(&name) {
        return Some("output.weight".to_owned());
    }
    if name == SCORE {
        return Some(SCORE.to_owned());
    }
    let inner = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    match inner {
        "embed_tokens.weight" => return Some("token_embd.weight".to_owned()),
        "norm.weight" => return Some("output_norm.weight".to_owned()),
        _ => {}
    }
    let (layer, part) = inner.strip_prefix("layers.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (module, kind) = part.rsplit_once('.')?;
    if !matches!(kind, "weight" | "bias") {
        return None;
    }
    if let Some(expert) = module.strip_prefix("mlp.experts.") {
        let (expert, module) = expert.split_once('.')?;
        let expert: usize = expert.parse().ok()?;
        return Some(format!("blk.{layer}.{}.{expert}.{kind}", gated(module)?));
    }
    Some(format!("blk.{layer}.{}.{kind}", canonical_module(architecture, module)?))
}

fn canonical_module(architecture: Architecture, module: &str) -> Option<&'static str> {
    if let Some(module) = module.strip_prefix("mlp.shared_experts.") {
        return Some(match gated(module)? {
            "ffn_gate" => "ffn_gate_shexp",
            "ffn_up" => "ffn_up_shexp",
            _ => "ffn_down_shexp",
        });
    }
    if module == "mlp.gate" {
        return Some("ffn_gate_inp");
    }
    if let Some(module) = module.strip_prefix("mlp.") {
        return gated(module);
    }
    Some(match module {
        "input_layernorm" => "attn_norm",
        // The same name means the norm before the feed-forward network, or Gemma's norm after attention.
        "post_attention_layernorm" if architecture.has_post_norms() => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.q_a_proj" => "attn_q_a",
        "self_attn.q_a_layernorm" => "attn_q_a_norm",
        "self_attn.q_b_proj" => "attn_q_b",
        "self_attn.kv_a_proj_with_mqa" => "attn_kv_a_mqa",
        "self_attn.kv_a_layernorm" => "attn_kv_a_norm",
        "self_attn.kv_b_proj" => "attn_kv_b",
        _ => return None,
    })
}

fn gated(module: &str) -> Option<&'static str> {
    Some(match module {
        "gate_proj" => "ffn_gate",
        "up_proj" => "ffn_up",
        "down_proj" => "ffn_down",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_after_attention_is_what_the_family_means_by_it() {
        let name = "model.layers.3.post_attention_layernorm.weight";
        let of = |architecture| canonical(architecture, name).unwrap();
        assert_eq!(of(Architecture::Llama), "blk.3.ffn_norm.weight");
        assert_eq!(of(Architecture::Gemma3), "blk.3.post_attention_norm.weight");
    }

    #[test]
    fn text_models_inside_others_have_the_same_names() {
        for prefix in PREFIXES {
            let name = format!("{prefix}layers.11.self_attn.k_norm.weight");
            let canonical = canonical(Architecture::Gemma3, &name);
            assert_eq!(canonical.as_deref(), Some("blk.11.attn_k_norm.weight"));
        }
    }

    #[test]
    fn experts_the_router_and_shared_experts_are_told_apart() {
        let of = |name: &str| {
            canonical(Architecture::DeepSeek2, &format!("model.layers.1.mlp.{name}.weight"))
        };
        assert_eq!(of("gate").as_deref(), Some("blk.1.ffn_gate_inp.weight"));
        assert_eq!(of("experts.63.down_proj").as_deref(), Some("blk.1.ffn_down.63.weight"));
        assert_eq!(of("shared_experts.up_proj").as_deref(), Some("blk.1.ffn_up_shexp.weight"));
        assert_eq!(of("experts.x.down_proj"), None);
    }

    #[test]
    fn tensors_of_other_parts_have_no_name() {
        for name in ["vision_tower.x.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", ""] {
            assert_eq!(canonical(Architecture::Gemma3, name), None, "{name}");
        }
    }
}
