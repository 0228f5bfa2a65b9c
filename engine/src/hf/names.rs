//! Names of tensors in folders, and their GGUF names.
//!
//! One expert of a layer is `blk.0.ffn_gate.7.weight`, as in the first GGUF files of such models; newer ones stack
//! all experts of a layer in one tensor.

use crate::model::Architecture;

/// Prefixes of a text model's tensors: on its own, or as part of a vision model.
const PREFIXES: [&str; 3] = ["language_model.model.", "model.language_model.", "model."];
const HEADS: [&str; 2] = ["lm_head.weight", "language_model.lm_head.weight"];

/// The head of a classifier.
const SCORE: &str = "score.weight";

/// Modules of a layer: the name in folders, and GGUF's.
const MODULES: [(&str, &str); 20] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.q_a_proj", "attn_q_a"),
    ("self_attn.q_a_layernorm", "attn_q_a_norm"),
    ("self_attn.q_b_proj", "attn_q_b"),
    ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
    ("self_attn.kv_a_layernorm", "attn_kv_a_norm"),
    ("self_attn.kv_b_proj", "attn_kv_b"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate", "ffn_gate_inp"),
    ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"),
    ("mlp.shared_experts.up_proj", "ffn_up_shexp"),
    ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
];
/// This name means the norm before the feed-forward network or, for Gemma, the norm after attention.
const NORMS: [(&str, &str); 1] = [("post_attention_layernorm", "ffn_norm")];
const POST_NORMS: [(&str, &str); 3] = [
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// GGUF's name of a tensor; `None` for tensors that the engine does not use.
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
        let (expert, module) = (expert.parse::<usize>().ok()?, format!("mlp.{module}"));
        let (_, gguf) = pair(architecture, |(folder, _)| folder == module)?;
        return Some(format!("blk.{layer}.{gguf}.{expert}.{kind}"));
    }
    let (_, gguf) = pair(architecture, |(folder, _)| folder == module)?;
    Some(format!("blk.{layer}.{gguf}.{kind}"))
}

/// The name in a folder of the tensor that GGUF calls `name`, for error messages. In a model that also reads pictures
/// it may have an additional prefix.
pub(crate) fn published(architecture: Architecture, name: &str) -> String {
    match name {
        "output.weight" => return HEADS[0].to_owned(),
        "token_embd.weight" => return "model.embed_tokens.weight".to_owned(),
        "output_norm.weight" => return "model.norm.weight".to_owned(),
        _ => {}
    }
    published_of_layer(architecture, name).unwrap_or_else(|| name.to_owned())
}

fn published_of_layer(architecture: Architecture, name: &str) -> Option<String> {
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let (module, kind) = part.rsplit_once('.')?;
    let (module, expert) = module.split_once('.').map_or((module, None), |(it, n)| (it, Some(n)));
    let (folder, _) = pair(architecture, |(_, gguf)| gguf == module)?;
    let folder = match expert {
        Some(expert) => folder.replace("mlp.", &format!("mlp.experts.{expert}.")),
        None => folder.to_owned(),
    };
    Some(format!("model.layers.{layer}.{folder}.{kind}"))
}

/// The first pair of names that is wanted.
fn pair(
    architecture: Architecture,
    is_wanted: impl Fn((&str, &str)) -> bool,
) -> Option<(&'static str, &'static str)> {
    let norms: &[_] = if architecture.has_post_norms() { &POST_NORMS } else { &NORMS };
    MODULES.iter().chain(norms).copied().find(|names| is_wanted(*names))
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
    fn a_name_of_gguf_is_told_as_folders_have_it() {
        for architecture in [Architecture::Llama, Architecture::Gemma2, Architecture::DeepSeek2] {
            for name in [
                "lm_head.weight",
                "model.norm.weight",
                "model.layers.0.post_attention_layernorm.weight",
                "model.layers.10.self_attn.q_proj.bias",
                "model.layers.1.mlp.experts.63.down_proj.weight",
                "model.layers.1.mlp.shared_experts.up_proj.weight",
                "model.layers.1.mlp.gate.weight",
                "score.weight",
            ] {
                let gguf = canonical(architecture, name).unwrap();
                assert_eq!(published(architecture, &gguf), name, "{gguf}");
            }
        }
    }

    #[test]
    fn tensors_of_other_parts_have_no_name() {
        for name in ["vision_tower.x.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", ""] {
            assert_eq!(canonical(Architecture::Gemma3, name), None, "{name}");
        }
    }
}
