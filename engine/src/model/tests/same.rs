//! A model is the same in either file format.

use safetensors::tensor::Dtype;

use super::listing::{assert_same, load, unpacked};
use super::written::{LAYERS, Meta, Tensor, VOCABULARY, Written, qwen3, sizes};
use crate::files::ModelFiles;
use crate::floats::FloatModel;
use crate::model::weights::{Attention, Feed, Linear};
use crate::model::{Shape, describe};
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::rows::{RopePairs, rotate};

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

/// The order in which `convert_hf_to_gguf` writes the rows of llama's queries and keys.
fn interleaved(tensor: &Tensor, heads: usize) -> (Vec<usize>, Vec<f32>) {
    let width = tensor.shape.get(1).copied().unwrap_or(1);
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
            rotate(SimdLevel::Portable, shape.rope.pairs, head, &angles);
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

fn llama() -> Written {
    let config = r#"{"model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 48, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true}"#;
    Written::new("llama", config)
        .meta(&sizes(64, 4, 2, 96))
        .tensor("model.embed_tokens.weight", "token_embd.weight", &[VOCABULARY, 64])
        .tensor("model.norm.weight", "output_norm.weight", &[64])
        .heads(0..LAYERS, 64, 64, 32)
        .dense(0..LAYERS, 64, 96)
        .layers(0..LAYERS, &[("post_attention_layernorm.weight", "ffn_norm.weight", &[64])])
        .in_gguf("attn_q.weight", |tensor| interleaved(tensor, 4))
        .in_gguf("attn_k.weight", |tensor| interleaved(tensor, 2))
}

#[test]
fn llamas_rows_are_in_another_order_and_attend_alike() {
    let model = llama();
    let (gguf, folder) = (model.gguf(), model.folder(Dtype::F32).open());
    let (gguf_shape, folder_shape) = (Shape::read(&gguf).unwrap(), Shape::read(&folder).unwrap());
    assert_eq!(gguf_shape.rope.pairs, RopePairs::Neighbours);
    assert_eq!(folder_shape.rope.pairs, RopePairs::Halves);
    for (one, other) in scores(&gguf).into_iter().zip(scores(&folder)) {
        assert!((one - other).abs() < 1e-4 * one.abs().max(1.0), "{one} {other}");
    }
}

fn gemma3() -> Written {
    let config = r#"{"model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "query_pre_attn_scalar": 32, "vocab_size": 48, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "sliding_window": 16}"#;
    Written::new("gemma3", config)
        .meta(&sizes(64, 4, 2, 96))
        .meta(&[
            ("attention.key_length", Meta::Size(32)),
            ("attention.value_length", Meta::Size(32)),
            ("attention.sliding_window", Meta::Size(16)),
            ("rope.freq_base", Meta::Float(1_000_000.0)),
        ])
        .tensor("model.embed_tokens.weight", "token_embd.weight", &[VOCABULARY, 64])
        .tensor("model.norm.weight", "output_norm.weight", &[64])
        .heads(0..LAYERS, 64, 128, 64)
        .dense(0..LAYERS, 64, 96)
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
        })
}

#[test]
fn gemmas_norms_lack_their_one_in_folders_alone() {
    let model = gemma3();
    let folder = model.folder(Dtype::BF16);
    assert_same(&model.gguf(), &folder.open());
    let (_, weights) = load(&folder.open());
    let local = weights.local_rope_frequencies.unwrap();
    assert!(local[1] > weights.rope_frequencies[1]);
}

/// The input of training: transformers' tensors, from either file format. Equal sizes and tensors give equal logits.
#[test]
fn floats_are_those_of_transformers_out_of_a_gguf_file_too() {
    let biased = llama()
        .layers(0..LAYERS, &[("self_attn.q_proj.bias", "attn_q.bias", &[64])])
        .in_gguf("attn_q.bias", |tensor| interleaved(tensor, 4));
    for model in [llama(), biased, qwen3(), gemma3()] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), model.gguf_bytes()).unwrap();
        let folder = model.folder(Dtype::BF16);
        let (gguf, folder) =
            (FloatModel::open(file.path()).unwrap(), FloatModel::open(folder.path()).unwrap());
        assert_eq!(gguf.sizes(), folder.sizes());
        for tensor in &model.tensors {
            let floats = |files: &FloatModel| match *tensor.shape.as_slice() {
                [outputs, inputs] => files.matrix(&tensor.gguf, inputs, outputs).unwrap(),
                [size] if tensor.gguf.ends_with(".bias") => {
                    files.bias(&tensor.gguf, size).unwrap().unwrap()
                }
                _ => {
                    let norm = files.norm(&tensor.gguf).unwrap().unwrap();
                    norm.iter().map(|value| value - files.stored_norm_offset()).collect()
                }
            };
            assert_eq!(floats(&gguf), tensor.values, "{}", tensor.gguf);
            assert_eq!(floats(&folder), tensor.values, "{}", tensor.folder);
        }
    }
}
