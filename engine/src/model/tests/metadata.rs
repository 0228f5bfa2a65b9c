//! A model's published GGUF file and its published folder give the same shape.

use std::path::Path;

use super::published::{DEEPSEEK_V2_LITE, GEMMA_2_27B, GEMMA_3_270M};
use super::written::{Meta, Written};
use crate::hf::{FolderConfig, HfFolder};
use crate::model::Shape;
use crate::model::shape::rope::RopeScaling;

/// The shape of a header without tensors, with the metadata of a published file.
fn of_gguf(architecture: &'static str, vocabulary: usize, metadata: &[(&str, Meta)]) -> Shape {
    let written = Written::new(architecture, "").meta(metadata);
    Shape::read(&Written { vocabulary, ..written }.gguf()).unwrap()
}

fn of_configuration(text: &str) -> Shape {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    let FolderConfig { architecture, config, .. } =
        HfFolder::read_config(Path::new(folder.path())).unwrap();
    Shape::of_configuration(architecture, &config).unwrap()
}

#[test]
fn gemma_3_270m() {
    let gguf = of_gguf(
        "gemma3",
        262_144,
        &[
            ("context_length", Meta::Size(32768)),
            ("embedding_length", Meta::Size(640)),
            ("block_count", Meta::Size(18)),
            ("feed_forward_length", Meta::Size(2048)),
            ("attention.head_count", Meta::Size(4)),
            ("attention.layer_norm_rms_epsilon", Meta::Float(1e-6)),
            ("attention.key_length", Meta::Size(256)),
            ("attention.value_length", Meta::Size(256)),
            ("rope.freq_base", Meta::Float(1_000_000.0)),
            ("attention.sliding_window", Meta::Size(512)),
            ("attention.head_count_kv", Meta::Size(1)),
        ],
    );
    assert_eq!(gguf, of_configuration(GEMMA_3_270M));
}

#[test]
fn gemma_2_27b() {
    let gguf = of_gguf(
        "gemma2",
        256_000,
        &[
            ("context_length", Meta::Size(8192)),
            ("embedding_length", Meta::Size(4608)),
            ("block_count", Meta::Size(46)),
            ("feed_forward_length", Meta::Size(36864)),
            ("attention.head_count", Meta::Size(32)),
            ("attention.head_count_kv", Meta::Size(16)),
            ("attention.layer_norm_rms_epsilon", Meta::Float(1e-6)),
            ("attention.key_length", Meta::Size(128)),
            ("attention.value_length", Meta::Size(128)),
            ("attn_logit_softcapping", Meta::Float(50.0)),
            ("final_logit_softcapping", Meta::Float(30.0)),
            ("attention.sliding_window", Meta::Size(4096)),
        ],
    );
    assert_eq!(gguf, of_configuration(GEMMA_2_27B));
}

#[test]
fn deepseek_v2_lite() {
    let gguf = of_gguf(
        "deepseek2",
        102_400,
        &[
            ("block_count", Meta::Size(27)),
            ("context_length", Meta::Size(163_840)),
            ("embedding_length", Meta::Size(2048)),
            ("feed_forward_length", Meta::Size(10944)),
            ("attention.head_count", Meta::Size(16)),
            ("attention.head_count_kv", Meta::Size(16)),
            ("rope.freq_base", Meta::Float(10_000.0)),
            ("attention.layer_norm_rms_epsilon", Meta::Float(1e-6)),
            ("expert_used_count", Meta::Size(6)),
            ("leading_dense_block_count", Meta::Size(1)),
            ("attention.kv_lora_rank", Meta::Size(512)),
            ("attention.key_length", Meta::Size(192)),
            ("attention.value_length", Meta::Size(128)),
            ("expert_feed_forward_length", Meta::Size(1408)),
            ("expert_count", Meta::Size(64)),
            ("expert_shared_count", Meta::Size(2)),
            ("expert_weights_scale", Meta::Float(1.0)),
            ("rope.dimension_count", Meta::Size(64)),
            ("rope.scaling.type", Meta::Text("yarn")),
            ("rope.scaling.factor", Meta::Float(40.0)),
            ("rope.scaling.original_context_length", Meta::Size(4096)),
            ("rope.scaling.yarn_log_multiplier", Meta::Float(0.0707)),
        ],
    );
    let folder = of_configuration(DEEPSEEK_V2_LITE);
    // The file has a tenth of the magnitude's weight, in f32.
    assert!((gguf.attention_scale / folder.attention_scale - 1.0).abs() < 1e-6);
    assert_eq!(Shape { attention_scale: folder.attention_scale, ..gguf }, folder);
}

#[test]
fn linear_scaling_is_read_from_each_of_its_names() {
    let scaling = |said: &[(&str, Meta)]| {
        let sizes = [
            ("block_count", Meta::Size(2)),
            ("context_length", Meta::Size(16_384)),
            ("embedding_length", Meta::Size(64)),
            ("feed_forward_length", Meta::Size(96)),
            ("attention.head_count", Meta::Size(2)),
            ("attention.layer_norm_rms_epsilon", Meta::Float(1e-5)),
        ];
        of_gguf("llama", 48, &[&sizes, said].concat()).rope.scaling
    };
    let (kind, factor, older) = ("rope.scaling.type", "rope.scaling.factor", "rope.scale_linear");
    let linear = |factor| RopeScaling::Linear { factor };
    assert_eq!(scaling(&[]), RopeScaling::None);
    assert_eq!(scaling(&[(older, Meta::Float(4.0))]), linear(4.0));
    assert_eq!(scaling(&[(factor, Meta::Float(8.0))]), linear(8.0));
    assert_eq!(scaling(&[(factor, Meta::Float(8.0)), (older, Meta::Float(4.0))]), linear(8.0));
    assert_eq!(scaling(&[(kind, Meta::Text("linear")), (older, Meta::Float(4.0))]), linear(4.0));
    assert_eq!(scaling(&[(factor, Meta::Float(0.0))]), RopeScaling::None);
    let off = [(kind, Meta::Text("none")), (factor, Meta::Float(8.0))];
    assert_eq!(scaling(&off), RopeScaling::None);
}
