//! Latent attention and experts are the same in every file format.

use safetensors::tensor::Dtype;

use super::listing::{assert_same, load, unpacked};
use super::written::{LAYERS, Meta, Tensor, VOCABULARY, Written, sizes};
use crate::config::CardWeights;
use crate::cuda::layers_on_a_card;
use crate::model::Shape;
use crate::model::weights::{Attention, LatentAttention};

/// DeepSeek V2 with two heads: 32 + 16 elements of a query, 32 of a value, a latent vector of 64.
fn deepseek(gguf_kv: &[(&str, Meta)], query_rank: &str) -> Written {
    let config = format!(
        r#"{{"model_type": "deepseek_v2", "hidden_size": 96, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "kv_lora_rank": 64, "q_lora_rank": {query_rank}, "qk_rope_head_dim": 16,
        "qk_nope_head_dim": 32, "v_head_dim": 32, "first_k_dense_replace": 1,
        "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 2,
        "moe_intermediate_size": 32, "norm_topk_prob": false, "routed_scaling_factor": 1.5,
        "rope_scaling": {{"type": "yarn", "factor": 4, "mscale": 0.5, "mscale_all_dim": 0.5,
            "original_max_position_embeddings": 128}},
        "vocab_size": 48, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": false}}"#
    );
    Written::new("deepseek2", &config)
        .meta(&sizes(96, 2, 1, 128))
        .meta(gguf_kv)
        .meta(&[
            ("attention.kv_lora_rank", Meta::Size(64)),
            ("rope.dimension_count", Meta::Size(16)),
            ("rope.scaling.type", Meta::Text("yarn")),
            ("rope.scaling.factor", Meta::Float(4.0)),
            ("rope.scaling.original_context_length", Meta::Size(128)),
            ("rope.scaling.yarn_log_multiplier", Meta::Float(0.05)),
            ("leading_dense_block_count", Meta::Size(1)),
            ("expert_count", Meta::Size(4)),
            ("expert_used_count", Meta::Size(2)),
            ("expert_shared_count", Meta::Size(2)),
            ("expert_feed_forward_length", Meta::Size(32)),
            ("expert_weights_scale", Meta::Float(1.5)),
        ])
        .tensor("model.embed_tokens.weight", "token_embd.weight", &[VOCABULARY, 96])
        .tensor("model.norm.weight", "output_norm.weight", &[96])
        .tensor("lm_head.weight", "output.weight", &[VOCABULARY, 96])
        .layers(
            0..LAYERS,
            &[
                ("input_layernorm.weight", "attn_norm.weight", &[96]),
                ("self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight", &[80, 96]),
                ("self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight", &[64]),
                ("self_attn.kv_b_proj.weight", "attn_kv_b.weight", &[128, 64]),
                ("self_attn.o_proj.weight", "attn_output.weight", &[96, 64]),
                ("post_attention_layernorm.weight", "ffn_norm.weight", &[96]),
            ],
        )
        .dense(0..1, 96, 128)
        .layers(
            1..2,
            &[
                ("mlp.gate.weight", "ffn_gate_inp.weight", &[4, 96]),
                ("mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", &[64, 96]),
                ("mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight", &[64, 96]),
                ("mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight", &[96, 64]),
            ],
        )
        .experts()
}

impl Written {
    /// Four experts in the second layer.
    fn experts(mut self) -> Written {
        for expert in 0..4 {
            let names = |part: &str| {
                (
                    format!("mlp.experts.{expert}.{part}_proj.weight"),
                    format!("ffn_{part}.{expert}.weight"),
                )
            };
            let (gate, up, down) = (names("gate"), names("up"), names("down"));
            self = self.layers(
                1..2,
                &[
                    (&gate.0, &gate.1, &[32, 96]),
                    (&up.0, &up.1, &[32, 96]),
                    (&down.0, &down.1, &[96, 32]),
                ],
            );
        }
        self
    }

    /// As in newer GGUF files: one tensor for a layer's experts, separate matrices for keys and values, the keys'
    /// transposed.
    fn in_newer_gguf(mut self) -> Written {
        for part in ["gate", "up", "down"] {
            let name = |tensor: &Tensor| {
                let numbered = tensor.gguf.strip_prefix(&format!("blk.1.ffn_{part}."))?;
                numbered.strip_suffix(".weight")?.parse::<usize>().ok()
            };
            let (experts, others): (Vec<Tensor>, Vec<Tensor>) =
                self.tensors.into_iter().partition(|tensor| name(tensor).is_some());
            self.tensors = others;
            let shape = [&[experts.len()], experts[0].shape.as_slice()].concat();
            let values = experts.iter().flat_map(|expert| expert.values.clone()).collect();
            self.add_stacked(&format!("blk.1.ffn_{part}_exps.weight"), shape, values);
        }
        for layer in 0..LAYERS {
            let name = format!("blk.{layer}.attn_kv_b.weight");
            let at = self.tensors.iter().position(|tensor| tensor.gguf == name).unwrap();
            let both = self.tensors.remove(at).values;
            let element =
                |head: usize, row: usize, column: usize| both[(head * 64 + row) * 64 + column];
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for head in 0..2 {
                keys.extend((0..64 * 32).map(|at| element(head, at % 32, at / 32)));
                values.extend((0..32 * 64).map(|at| element(head, 32 + at / 64, at % 64)));
            }
            self.add_stacked(&format!("blk.{layer}.attn_k_b.weight"), vec![2, 64, 32], keys);
            self.add_stacked(&format!("blk.{layer}.attn_v_b.weight"), vec![2, 32, 64], values);
        }
        self
    }

    fn add_stacked(&mut self, gguf: &str, shape: Vec<usize>, values: Vec<f32>) {
        let (folder, in_gguf) = (String::new(), None);
        self.tensors.push(Tensor { folder, gguf: gguf.to_owned(), shape, values, in_gguf });
    }
}

const OLDER: [(&str, Meta); 2] =
    [("attention.key_length", Meta::Size(48)), ("attention.value_length", Meta::Size(32))];
const NEWER: [(&str, Meta); 4] = [
    ("attention.key_length", Meta::Size(80)),
    ("attention.value_length", Meta::Size(64)),
    ("attention.key_length_mla", Meta::Size(48)),
    ("attention.value_length_mla", Meta::Size(32)),
];
const FULL_QUERY: (&str, &str, &[usize]) = ("self_attn.q_proj.weight", "attn_q.weight", &[96, 96]);

#[test]
fn latent_attention_and_experts_are_the_same_in_older_and_newer_files_and_in_folders() {
    let older = deepseek(&OLDER, "null").layers(0..LAYERS, &[FULL_QUERY]);
    let newer = deepseek(&NEWER, "null").layers(0..LAYERS, &[FULL_QUERY]).in_newer_gguf();
    let folder = older.folder(Dtype::BF16);
    assert_same(&older.gguf(), &folder.open());
    assert_same(&newer.gguf(), &folder.open());
}

#[test]
fn shared_experts_that_would_be_left_out_are_refused() {
    let mut model = deepseek(&OLDER, "null").layers(0..LAYERS, &[FULL_QUERY]);
    model.config = model.config.replace(r#""n_shared_experts": 2"#, r#""n_shared_experts": 0"#);
    let error = Shape::read(&model.folder(Dtype::F32).open()).unwrap_err().to_string();
    assert!(error.contains("ffn_down_shexp") && error.contains("no shared experts"), "{error}");
}

#[test]
fn they_are_the_same_on_a_card() {
    let older = deepseek(&OLDER, "null").layers(0..LAYERS, &[FULL_QUERY]);
    let newer = deepseek(&NEWER, "null").layers(0..LAYERS, &[FULL_QUERY]).in_newer_gguf();
    let folder = older.folder(Dtype::BF16);
    for kind in [CardWeights::Bfloat16, CardWeights::Int8] {
        let expected = layers_on_a_card(&folder.open(), kind);
        // Attention's four in both layers, a dense network's two, experts' five.
        assert_eq!(expected.len(), 15);
        assert_eq!(layers_on_a_card(&older.gguf(), kind), expected);
        assert_eq!(layers_on_a_card(&newer.gguf(), kind), expected);
    }
}

#[test]
fn queries_of_latent_attention_may_go_through_two_matrices() {
    let parts: [(&str, &str, &[usize]); 3] = [
        ("self_attn.q_a_proj.weight", "attn_q_a.weight", &[32, 96]),
        ("self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight", &[32]),
        ("self_attn.q_b_proj.weight", "attn_q_b.weight", &[96, 32]),
    ];
    let model = deepseek(&OLDER, "32")
        .meta(&[("attention.q_lora_rank", Meta::Size(32))])
        .layers(0..LAYERS, &parts);
    assert_same(&model.gguf(), &model.folder(Dtype::F32).open());
}

#[test]
fn absorbed_matrices_give_the_scores_and_values_of_expanded_ones() {
    let model = deepseek(&OLDER, "null").layers(0..LAYERS, &[FULL_QUERY]);
    let (_, weights) = load(&model.folder(Dtype::F32).open());
    let expand =
        &model.tensors.iter().find(|tensor| tensor.gguf == "blk.0.attn_kv_b.weight").unwrap();
    let Attention::Latent(latent) = &weights.layers[0].attention else { panic!() };
    let LatentAttention { key_up, value_up, .. } = latent;
    let latent: Vec<f32> = (0..64).map(|at| (at as f32 / 5.0).sin()).collect();
    let query: Vec<f32> = (0..32).map(|at| (at as f32 / 3.0).cos()).collect();
    let times = |rows: &[f32], x: &[f32]| -> Vec<f32> {
        let dot = |row: &[f32]| row.iter().zip(x).map(|(a, b)| a * b).sum();
        rows.chunks_exact(x.len()).map(dot).collect()
    };
    let expanded = times(&expand.values, &latent);
    for head in 0..2 {
        let (keys, values) = expanded[head * 64..][..64].split_at(32);
        let score: f32 = query.iter().zip(keys).map(|(a, b)| a * b).sum();
        let absorbed = times(&unpacked(&key_up[head]), &query);
        let other: f32 = absorbed.iter().zip(&latent).map(|(a, b)| a * b).sum();
        assert!((score - other).abs() < 1e-3, "{score} {other}");
        assert_eq!(times(&unpacked(&value_up[head]), &latent), values);
    }
}
