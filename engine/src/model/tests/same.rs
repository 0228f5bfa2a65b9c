//! A model is the same whichever form its files have.

use safetensors::tensor::Dtype;

use super::written::{LAYERS, Meta, Tensor, VOCABULARY, Written, dense, heads, qwen3, sizes};
use crate::files::ModelFiles;
use crate::kernels::codes::{QuantRows, QuantView};
use crate::kernels::packed::{Input, Packed};
use crate::kernels::rows::{RopePairs, rotate};
use crate::kernels::{Level, PANEL};
use crate::model::weights::{Attention, Feed, Gated, LatentQuery, Layer, Linear};
use crate::model::{Shape, Weights, describe};

/// Everything of a model's weights, as floats.
type Listing = Vec<(String, Vec<f32>)>;

/// A packed matrix as rows of outputs.
fn unpacked(matrix: &Packed) -> Vec<f32> {
    let (rows, inputs) = (matrix.inputs, matrix.inputs);
    let floats: Vec<f32> =
        (0..rows * inputs).map(|at| f32::from(u8::from(at / inputs == at % inputs))).collect();
    let mut quant = QuantRows::default();
    quant.resize(rows, inputs.next_multiple_of(32));
    let codes = QuantView { inputs, codes: &quant.codes, scales: &quant.scales, sums: &quant.sums };
    let input = Input { rows, codes, floats: &floats };
    let mut out = vec![0.0; matrix.outputs * inputs];
    for panel in 0..matrix.panels() {
        matrix.panel(Level::Portable, panel, &input, |first, count, tile| {
            for (row, tile) in tile.iter().enumerate().take(count) {
                let outputs = panel * PANEL..matrix.outputs.min((panel + 1) * PANEL);
                for (output, value) in outputs.zip(tile) {
                    out[output * inputs + first + row] = *value;
                }
            }
        });
    }
    out
}

fn listing(weights: &Weights) -> Listing {
    let mut all: Listing = Vec::new();
    let width = weights.output_norm.len();
    for token in 0..VOCABULARY {
        let mut row = vec![0.0; width];
        weights.embedding.row(token as u32, &mut row);
        all.push((format!("embedding {token}"), row));
    }
    all.push(("output norm".to_owned(), weights.output_norm.clone()));
    all.push(("head".to_owned(), unpacked(&weights.head)));
    let frequencies = weights.rope_frequencies.iter().map(|&frequency| frequency as f32);
    all.push(("frequencies".to_owned(), frequencies.collect()));
    for (number, layer) in weights.layers.iter().enumerate() {
        let mut push =
            |name: &str, floats: Vec<f32>| all.push((format!("{number} {name}"), floats));
        list_layer(layer, &mut push);
    }
    all
}

fn list_layer(layer: &Layer, push: &mut dyn FnMut(&str, Vec<f32>)) {
    push("attention norm", layer.attention_norm.clone());
    push("query norm", layer.query_norm.clone().unwrap_or_default());
    push("key norm", layer.key_norm.clone().unwrap_or_default());
    push("post attention norm", layer.post_attention_norm.clone().unwrap_or_default());
    push("feed norm", layer.feed_norm.clone());
    push("post feed norm", layer.post_feed_norm.clone().unwrap_or_default());
    match &layer.attention {
        Attention::Heads { query, key, value, output } => {
            for (name, linear) in [("query", query), ("key", key), ("value", value)] {
                push(name, unpacked(&linear.matrix));
                push("bias", linear.bias.clone().unwrap_or_default());
            }
            push("output", unpacked(output));
        }
        Attention::Latent { query, down, norm, key_up, value_up, output } => {
            match query {
                LatentQuery::Full(query) => push("query", unpacked(query)),
                LatentQuery::LowRank { down, norm, up } => {
                    push("query down", unpacked(down));
                    push("query norm", norm.clone());
                    push("query up", unpacked(up));
                }
            }
            push("down", unpacked(down));
            push("latent norm", norm.clone());
            key_up.iter().for_each(|head| push("key up", unpacked(head)));
            value_up.iter().for_each(|head| push("value up", unpacked(head)));
            push("output", unpacked(output));
        }
    }
    let mut push_gated = |gated: &Gated| {
        push("gate", unpacked(&gated.gate));
        push("up", unpacked(&gated.up));
        push("down", unpacked(&gated.down));
    };
    match &layer.feed {
        Feed::Dense(gated) => push_gated(gated),
        Feed::Experts { router, experts, shared } => {
            experts.iter().chain(shared).for_each(push_gated);
            push("router", unpacked(router));
        }
    }
}

fn load(files: &ModelFiles) -> (Shape, Weights) {
    let shape = Shape::read(files).unwrap();
    let weights = Weights::load(files, &shape).unwrap();
    (shape, weights)
}

fn assert_same(one: &ModelFiles, other: &ModelFiles) {
    let ((one_shape, one), (other_shape, other)) = (load(one), load(other));
    assert_eq!(one_shape, other_shape);
    let (one, other) = (listing(&one), listing(&other));
    assert_eq!(one.len(), other.len());
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{name} differs");
    }
}

#[test]
fn a_folder_of_any_float_type_is_the_gguf_file() {
    let model = qwen3();
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        assert_same(&model.gguf(), &model.folder(dtype).open());
    }
    assert_same(&model.gguf(), &model.sharded().open());
}

#[test]
fn tensors_land_where_their_names_say() {
    let model = qwen3();
    let (_, weights) = load(&model.folder(Dtype::F32).open());
    let values = |name: &str| {
        let found = model.tensors.iter().find(|tensor| tensor.folder == name);
        found.unwrap().values.clone()
    };
    let Attention::Heads { key, .. } = &weights.layers[1].attention else { panic!("no heads") };
    assert_eq!(unpacked(&key.matrix), values("model.layers.1.self_attn.k_proj.weight"));
    let Feed::Dense(gated) = &weights.layers[0].feed else { panic!("experts") };
    assert_eq!(unpacked(&gated.down), values("model.layers.0.mlp.down_proj.weight"));
    assert_eq!(
        weights.layers[0].feed_norm,
        values("model.layers.0.post_attention_layernorm.weight")
    );
    assert_eq!(unpacked(&weights.head), values("lm_head.weight"));
    let mut row = vec![0.0; 64];
    weights.embedding.row(3, &mut row);
    assert_eq!(row, values("model.embed_tokens.weight")[3 * 64..4 * 64]);
}

#[test]
fn a_tied_head_is_the_table_even_if_another_one_is_there() {
    let mut model = qwen3();
    model.config =
        model.config.replace(r#""tie_word_embeddings": false"#, r#""tie_word_embeddings": true"#);
    let folder = model.folder(Dtype::F32);
    let (_, weights) = load(&folder.open());
    let table = model.tensors.iter().find(|tensor| tensor.gguf == "token_embd.weight").unwrap();
    assert_eq!(unpacked(&weights.head), table.values);
}

#[test]
fn the_facts_of_a_folder_are_those_of_the_file() {
    let model = qwen3();
    let (gguf, folder) = (model.gguf(), model.folder(Dtype::BF16));
    let shape = Shape::read(&gguf).unwrap();
    let (one, other) =
        (describe(&gguf, &shape).unwrap(), describe(&folder.open(), &shape).unwrap());
    assert_eq!((one.parameters, &one.architecture), (other.parameters, &other.architecture));
    assert_eq!((one.file_type.as_str(), other.file_type.as_str()), ("F32", "BF16"));
    assert_eq!(other.name, folder.path().file_name().unwrap().to_string_lossy());
    assert!(!other.has_chat_template);
    std::fs::write(folder.file("tokenizer_config.json"), r#"{"chat_template": "{{ x }}"}"#)
        .unwrap();
    assert!(describe(&folder.open(), &shape).unwrap().has_chat_template);
}

/// As `convert_hf_to_gguf` orders the rows of llama's queries and keys.
fn interleaved(tensor: &Tensor, heads: usize) -> (Vec<usize>, Vec<f32>) {
    let width = tensor.shape[1];
    let size = tensor.shape[0] / heads;
    let rows = (0..tensor.shape[0]).flat_map(|row| {
        let (head, at) = (row / size, row % size);
        let from = head * size + at % 2 * (size / 2) + at / 2;
        tensor.values[from * width..][..width].to_vec()
    });
    (tensor.shape.clone(), rows.collect())
}

/// Scores of one query token to one key token, for every head.
fn scores(files: &ModelFiles) -> Vec<f32> {
    let (shape, weights) = load(files);
    let Attention::Heads { query, key, .. } = &weights.layers[0].attention else { panic!() };
    let turned = |linear: &Linear, position: f64, step: f32| -> Vec<f32> {
        let token: Vec<f32> = (0..shape.width).map(|at| (at as f32 * step).sin() / 8.0).collect();
        let rows = unpacked(&linear.matrix);
        let dot = |row: &[f32]| row.iter().zip(&token).map(|(a, b)| a * b).sum();
        let mut heads: Vec<f32> = rows.chunks_exact(shape.width).map(dot).collect();
        let angle = |frequency: &f64| {
            [(position * frequency).cos() as f32, (position * frequency).sin() as f32]
        };
        let angles: Vec<[f32; 2]> = weights.rope_frequencies.iter().map(angle).collect();
        for head in heads.chunks_exact_mut(shape.head_size()) {
            rotate(shape.rope.pairs, head, &angles);
        }
        heads
    };
    let (queries, keys) = (turned(query, 7.0, 0.3), turned(key, 2.0, 0.7));
    let score = |head: usize| -> f32 {
        let size = shape.head_size();
        let key = &keys[head / shape.heads_per_kv() * size..][..size];
        queries[head * size..][..size].iter().zip(key).map(|(a, b)| a * b).sum()
    };
    (0..shape.heads).map(score).collect()
}

#[test]
fn llamas_rows_are_in_another_order_and_attend_alike() {
    let config = r#"{"model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 48, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true}"#;
    let model = Written::new("llama", config)
        .meta(&sizes(64, 4, 2, 96))
        .tensor("model.embed_tokens.weight", "token_embd.weight", &[VOCABULARY, 64])
        .tensor("model.norm.weight", "output_norm.weight", &[64])
        .layers(0..LAYERS, &heads(64, 64, 32))
        .layers(0..LAYERS, &dense(64, 96))
        .layers(0..LAYERS, &[("post_attention_layernorm.weight", "ffn_norm.weight", &[64])])
        .in_gguf("attn_q.weight", |tensor| interleaved(tensor, 4))
        .in_gguf("attn_k.weight", |tensor| interleaved(tensor, 2));
    let (gguf, folder) = (model.gguf(), model.folder(Dtype::F32).open());
    let (gguf_shape, folder_shape) = (Shape::read(&gguf).unwrap(), Shape::read(&folder).unwrap());
    assert_eq!(gguf_shape.rope.pairs, RopePairs::Neighbours);
    assert_eq!(folder_shape.rope.pairs, RopePairs::Halves);
    for (one, other) in scores(&gguf).into_iter().zip(scores(&folder)) {
        assert!((one - other).abs() < 1e-4 * one.abs().max(1.0), "{one} {other}");
    }
}

#[test]
fn gemmas_norms_lack_their_one_in_folders_alone() {
    let config = r#"{"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "query_pre_attn_scalar": 32, "vocab_size": 48, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "sliding_window": 16}"#;
    let model = Written::new("gemma3", config)
        .meta(&sizes(64, 4, 2, 96))
        .meta(&[
            ("attention.key_length", Meta::Size(32)),
            ("attention.value_length", Meta::Size(32)),
            ("attention.sliding_window", Meta::Size(16)),
            ("rope.freq_base", Meta::Float(1_000_000.0)),
        ])
        .tensor("model.embed_tokens.weight", "token_embd.weight", &[VOCABULARY, 64])
        .tensor("model.norm.weight", "output_norm.weight", &[64])
        .layers(0..LAYERS, &heads(64, 128, 64))
        .layers(0..LAYERS, &dense(64, 96))
        .layers(
            0..LAYERS,
            &[
                ("self_attn.q_norm.weight", "attn_q_norm.weight", &[32]),
                ("self_attn.k_norm.weight", "attn_k_norm.weight", &[32]),
                ("post_attention_layernorm.weight", "post_attention_norm.weight", &[64]),
                ("pre_feedforward_layernorm.weight", "ffn_norm.weight", &[64]),
                ("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[64]),
            ],
        )
        .in_gguf("norm.weight", |tensor| {
            (tensor.shape.clone(), tensor.values.iter().map(|value| value + 1.0).collect())
        });
    let folder = model.folder(Dtype::BF16);
    assert_same(&model.gguf(), &folder.open());
    let (_, weights) = load(&folder.open());
    let local = weights.local_rope_frequencies.unwrap();
    assert!(local[1] > weights.rope_frequencies[1]);
}

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
        .layers(0..1, &dense(96, 128))
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

    /// As newer GGUF files have them: a layer's experts in one tensor, keys' and values' matrices apart, keys' turned.
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
    let Attention::Latent { key_up, value_up, .. } = &weights.layers[0].attention else { panic!() };
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
