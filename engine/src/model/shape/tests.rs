//! Shapes of published models, from their configurations.

use std::path::Path;

use super::rope::RopeScaling;
use super::*;
use crate::model::tests::published::{
    DEEPSEEK_V2_LITE, GEMMA_2_27B, GEMMA_3_270M, LLAMA_3_1_8B, QWEN2_5_0_5B, QWEN3_0_6B,
};
use jury_kernels::cpu::rows::RopePairs;

fn read(architecture: Architecture, text: &str) -> Result<Shape, LoadError> {
    let config = Config::parse(Path::new("config.json"), text.as_bytes())?;
    Shape::of_configuration(architecture, &config)
}

fn shape(architecture: Architecture, text: &str) -> Shape {
    read(architecture, text).unwrap()
}

/// The text with one piece of it replaced.
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn close(one: f64, other: f64) -> bool {
    (one / other - 1.0).abs() < 1e-6
}

#[test]
fn llama_3_1_is_plain_but_for_its_slow_turns() {
    let shape = shape(Architecture::Llama, LLAMA_3_1_8B);
    let sizes = (shape.layers, shape.width, shape.heads, shape.kv_heads, shape.head_size());
    assert_eq!(sizes, (32, 4096, 32, 8, 128));
    assert_eq!((shape.hidden, shape.vocabulary, shape.context_length), (14336, 128256, 131072));
    assert_eq!((shape.rope.pairs, shape.rope.size), (RopePairs::Halves, 128));
    assert_eq!(shape.norm_epsilon, 1e-5);
    assert_eq!((shape.embedding_scale, shape.attention_scale), (1.0, 1.0 / 128f32.sqrt()));
    assert_eq!((shape.window.as_ref(), shape.latent, shape.experts.as_ref()), (None, None, None));
    assert_eq!(runnable(&shape), Ok(()));

    let scaled = shape.rope.frequencies();
    let plain = Rope { scaling: RopeScaling::None, ..shape.rope.clone() }.frequencies();
    assert_eq!(scaled[..28], plain[..28], "turns of less than 2,048 tokens stay");
    for pair in 36..64 {
        assert_eq!(scaled[pair], plain[pair] / 8.0, "turns of more than 8,192 tokens are slower");
    }
    assert!(scaled[30] < plain[30] && scaled[30] > plain[30] / 8.0);
    // torch, float64: (1 - s) * f / 8 + s * f with s = (8192 / wavelength - 1) / 3.
    let (plain, turns) = (plain[30], 8192.0 * plain[30] / (2.0 * std::f64::consts::PI));
    let kept = (turns - 1.0) / 3.0;
    assert!(close(scaled[30], (1.0 - kept) * plain / 8.0 + kept * plain));
}

#[test]
fn a_window_that_is_switched_off_is_none() {
    let small = shape(Architecture::Qwen2, QWEN2_5_0_5B);
    assert_eq!((small.head_size(), small.heads_per_kv(), small.window.as_ref()), (64, 7, None));
    assert_eq!(runnable(&small), Ok(()));
    let on = with(QWEN2_5_0_5B, r#""use_sliding_window": false"#, r#""use_sliding_window": true"#);
    let on = shape(Architecture::Qwen2, &on);
    assert_eq!((on.window(20), on.window(21)), (None, Some(32768)));
}

#[test]
fn a_qwen3_head_may_be_wider_than_its_share_of_the_stream() {
    let shape = shape(Architecture::Qwen3, QWEN3_0_6B);
    assert_eq!((shape.width, shape.heads, shape.head_size()), (1024, 16, 128));
    assert_eq!(shape.rope.scaling, RopeScaling::None);
    assert!(shape.architecture.has_head_norms());
    assert_eq!(runnable(&shape), Ok(()));
}

#[test]
fn gemma_2_caps_scales_and_alternates() {
    let shape = shape(Architecture::Gemma2, GEMMA_2_27B);
    assert_eq!(shape.attention_scale, 1.0 / 12.0, "not the root of a head's size");
    assert_eq!((shape.attention_softcap, shape.logit_softcap), (Some(50.0), Some(30.0)));
    assert_eq!(
        (shape.window(0), shape.window(1), shape.window(44)),
        (Some(4096), None, Some(4096))
    );
    assert_eq!((shape.activation, shape.embedding_scale), (Activation::GeluTanh, 4608f32.sqrt()));
    assert_eq!((shape.rope.local_base, shape.rope.local_frequencies()), (None, None));
}

#[test]
fn gemma_3_turns_faster_where_it_sees_a_window() {
    let shape = shape(Architecture::Gemma3, GEMMA_3_270M);
    let sizes = (shape.layers, shape.width, shape.heads, shape.kv_heads, shape.head_size());
    assert_eq!(sizes, (18, 640, 4, 1, 256));
    let global: Vec<usize> = (0..18).filter(|&layer| shape.window(layer).is_none()).collect();
    assert_eq!((global, shape.window(0)), (vec![5, 11, 17], Some(512)));
    assert_eq!((shape.attention_scale, shape.attention_softcap), (1.0 / 16.0, None));
    let local = shape.rope.local_frequencies().unwrap();
    assert!(close(local[64], 0.01) && close(shape.rope.frequencies()[64], 0.001));
    assert_eq!(shape.kv_floats_per_token(), 18 * 256 * 2);
}

#[test]
fn gemma_3_scales_only_the_layers_that_see_everything() {
    // The configuration of gemma-3-4b's text part contains no more than this.
    let text = r#"{"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
        "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024}"#;
    let shape = shape(Architecture::Gemma3, text);
    assert_eq!((shape.heads, shape.kv_heads, shape.head_size()), (8, 4, 256));
    assert_eq!((shape.vocabulary, shape.context_length), (262208, 131072));
    assert_eq!(shape.rope.scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(shape.rope.frequencies()[0], 1.0 / 8.0);
    assert_eq!(shape.rope.local_frequencies().unwrap()[0], 1.0);
    assert_eq!((shape.window(4), shape.window(5)), (Some(1024), None));
}

#[test]
fn rope_parameters_are_the_newer_way_to_say_the_same() {
    let newer = with(
        GEMMA_3_270M,
        r#""rope_local_base_freq": 10000.0, "rope_scaling": null,
    "rope_theta": 1000000.0"#,
        r#""rope_parameters": {
            "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}}"#,
    );
    let older = shape(Architecture::Gemma3, GEMMA_3_270M);
    assert_eq!(shape(Architecture::Gemma3, &newer), older);

    let newer = LLAMA_3_1_8B
        .replace("rope_scaling\": {", "rope_parameters\": {\"rope_theta\": 500000.0,")
        .replace("\"rope_theta\": 500000.0, \"tie", "\"tie");
    assert_eq!(shape(Architecture::Llama, &newer), shape(Architecture::Llama, LLAMA_3_1_8B));
}

#[test]
fn what_rope_parameters_leave_out_is_read_from_the_older_fields() {
    let newer = LLAMA_3_1_8B.replace("rope_scaling", "rope_parameters");
    assert_eq!(shape(Architecture::Llama, &newer), shape(Architecture::Llama, LLAMA_3_1_8B));
    let newer = with(
        &with(
            GEMMA_3_270M,
            r#""rope_local_base_freq": 10000.0"#,
            r#""rope_local_base_freq": 5000.0"#,
        ),
        r#""rope_scaling": null"#,
        r#""rope_parameters": {"full_attention": {"rope_type": "default"}}"#,
    );
    let rope = shape(Architecture::Gemma3, &newer).rope;
    assert_eq!((rope.base, rope.local_base), (1_000_000.0, Some(5_000.0)));
    let half = |newer: &str| {
        let outer = r#""partial_rotary_factor": 0.5, "rope_theta": 1000000"#;
        let text = with(QWEN3_0_6B, r#""rope_theta": 1000000"#, outer);
        let text = with(&text, r#""rope_scaling": null"#, newer);
        shape(Architecture::Qwen3, &text).rope.size
    };
    assert_eq!(half(r#""rope_parameters": {"partial_rotary_factor": 0.5}"#), 64);
    assert_eq!(half(r#""rope_parameters": {"rope_type": "default"}"#), 64);
}

#[test]
fn newer_and_older_fields_that_contradict_each_other_are_refused() {
    let beside = |newer: &str| {
        let text = with(LLAMA_3_1_8B, r#""rope_theta": 500000.0"#, newer);
        read(Architecture::Llama, &text)
    };
    let default = r#""rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}"#;
    let error = beside(default).unwrap_err();
    assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("rope_parameters and rope_scaling"), "{error}");
    let same = r#""rope_parameters": {"rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}"#;
    assert_eq!(beside(same).unwrap(), shape(Architecture::Llama, LLAMA_3_1_8B));
}

#[test]
fn sizes_that_kernels_cannot_cut_are_refused_by_name() {
    let odd = with(QWEN3_0_6B, r#""head_dim": 128"#, r#""head_dim": 80"#);
    let why = runnable(&shape(Architecture::Qwen3, &odd)).unwrap_err();
    assert_eq!(why, "key size of 80, which is not a multiple of 32");
}

#[test]
fn deepseek_v2_lite_stores_its_latent_vectors() {
    let shape = shape(Architecture::DeepSeek2, DEEPSEEK_V2_LITE);
    assert_eq!(runnable(&shape), Ok(()));
    let latent = shape.latent.unwrap();
    assert_eq!((latent.rank, latent.rope_size, latent.nope_size), (512, 64, 128));
    assert_eq!((latent.value_size, latent.query_rank), (128, None));
    assert_eq!((shape.heads, shape.kv_heads), (16, 1));
    assert_eq!((shape.key_size, shape.value_size), (576, 512));
    assert_eq!(shape.kv_floats_per_token(), 27 * 576);
    assert_eq!((shape.rope.pairs, shape.rope.size), (RopePairs::Neighbours, 64));
    let experts = shape.experts.as_ref().unwrap();
    assert_eq!((experts.count, experts.used, experts.hidden), (64, 6, 1408));
    assert_eq!((experts.shared, experts.dense_layers, experts.groups), (2, 1, None));
    assert_eq!((experts.scale, experts.normalise), (1.0, false));
    assert_eq!((shape.has_experts(0), shape.has_experts(1)), (false, true));
    assert_eq!(shape.hidden, 10944);
}

#[test]
fn deepseek_puts_yarns_magnitude_into_the_scores() {
    let shape = shape(Architecture::DeepSeek2, DEEPSEEK_V2_LITE);
    assert_eq!(shape.rope.magnitude(), 1.0, "both weights are equal");
    let magnitude = 0.1 * 0.707 * 40f64.ln() + 1.0;
    assert!(close(f64::from(shape.attention_scale), magnitude * magnitude / 192f64.sqrt()));
    // Pairs 0 to 10 are unchanged, pairs from 23 on are 40 times slower: floor and ceiling of 32 ln(4096 / (turns * 2
    // pi)) / ln 10000 for 32 turns and 1 turn.
    let plain = Rope { scaling: RopeScaling::None, ..shape.rope.clone() }.frequencies();
    let scaled = shape.rope.frequencies();
    assert_eq!((scaled[10], scaled[23]), (plain[10], plain[23] / 40.0));
    let kept = 1.0 - 1.0 / 13.0;
    assert!(close(scaled[11], plain[11] * (kept + (1.0 - kept) / 40.0)));
}

#[test]
fn larger_deepseek_v2_models_choose_among_groups() {
    let text = with(
        DEEPSEEK_V2_LITE,
        r#""topk_method": "greedy""#,
        r#""topk_method": "group_limited_greedy""#,
    );
    let text = with(&text, r#""n_group": 1"#, r#""n_group": 8"#);
    let text = with(&text, r#""topk_group": 1"#, r#""topk_group": 3"#);
    let text = with(&text, r#""q_lora_rank": null"#, r#""q_lora_rank": 1536"#);
    let shape = shape(Architecture::DeepSeek2, &text);
    let groups = shape.experts.as_ref().and_then(|experts| experts.groups).unwrap();
    assert_eq!((groups.count, groups.used), (8, 3));
    assert_eq!(shape.latent.unwrap().query_rank, Some(1536));
}

#[test]
fn settings_that_make_no_sense_are_corrupt() {
    for (from, to) in [
        (r#""num_hidden_layers": 32"#, r#""num_hidden_layers": 0"#),
        (r#""num_hidden_layers": 32"#, r#""num_hidden_layers": 99999999999999999999"#),
        (r#""num_hidden_layers": 32"#, r#""num_hidden_layers": 16777216"#),
        (r#""num_hidden_layers": 32"#, r#""num_hidden_layers": 1025"#),
        (r#""num_attention_heads": 32"#, r#""num_attention_heads": 0"#),
        (r#""num_attention_heads": 32"#, r#""num_attention_heads": -1"#),
        (r#""num_attention_heads": 32"#, r#""num_attention_heads": "32""#),
        (r#""num_key_value_heads": 8"#, r#""num_key_value_heads": 7"#),
        (r#""num_key_value_heads": 8"#, r#""num_key_value_heads": 0"#),
        (r#""hidden_size": 4096"#, r#""hidden_size": 1e30"#),
        (r#""hidden_size": 4096"#, r#""hidden_size": null"#),
        (r#""vocab_size": 128256"#, r#""vocab_size": 0"#),
        (r#""rms_norm_eps": 1e-05"#, r#""rms_norm_eps": -1"#),
        (r#""rms_norm_eps": 1e-05"#, r#""rms_norm_eps": 1e-300"#),
        (r#""rope_theta": 500000.0"#, r#""rope_theta": 0"#),
        (r#""factor": 8.0"#, r#""factor": 0.0"#),
        (r#""factor": 8.0"#, r#""factor": {}"#),
        (r#""high_freq_factor": 4.0"#, r#""high_freq_factor": 1.0"#),
    ] {
        let error = read(Architecture::Llama, &with(LLAMA_3_1_8B, from, to)).unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "{to}: {error}");
    }
    for (from, to) in [
        (r#""n_routed_experts": 64"#, r#""n_routed_experts": 5"#),
        (r#""n_shared_experts": 2"#, r#""n_shared_experts": 16777216"#),
        (r#""first_k_dense_replace": 1"#, r#""first_k_dense_replace": 28"#),
        (r#""kv_lora_rank": 512"#, r#""kv_lora_rank": 0"#),
        (r#""qk_rope_head_dim": 64"#, r#""qk_rope_head_dim": 63"#),
        (r#""beta_slow": 1"#, r#""beta_slow": 32"#),
    ] {
        let error = read(Architecture::DeepSeek2, &with(DEEPSEEK_V2_LITE, from, to)).unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "{to}: {error}");
    }
    let short = with(GEMMA_3_270M, r#""num_hidden_layers": 18"#, r#""num_hidden_layers": 19"#);
    let error = read(Architecture::Gemma3, &short).unwrap_err();
    assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
}

#[test]
fn settings_that_are_unknown_are_unsupported_and_named() {
    for (architecture, text, from, to, named) in [
        (Architecture::Llama, LLAMA_3_1_8B, r#""llama3""#, r#""longrope""#, "longrope"),
        (Architecture::Llama, LLAMA_3_1_8B, r#""silu""#, r#""relu2""#, "relu2"),
        (Architecture::DeepSeek2, DEEPSEEK_V2_LITE, r#""softmax""#, r#""sigmoid""#, "softmax"),
        (Architecture::DeepSeek2, DEEPSEEK_V2_LITE, r#""greedy""#, r#""noaux_tc""#, "noaux_tc"),
        (Architecture::Gemma3, GEMMA_3_270M, r#""full_attention""#, r#""chunked""#, "chunked"),
    ] {
        let error = read(architecture, &with(text, from, to)).unwrap_err();
        assert!(matches!(error, LoadError::Unsupported { .. }), "{to}: {error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}
