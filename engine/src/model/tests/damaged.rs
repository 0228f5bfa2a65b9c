//! Damaged and hostile folders give typed errors that name the problem, never a panic or a huge allocation.

use std::fs;

use safetensors::tensor::Dtype;

use super::written::{Folder, Written, qwen3, write_shard};
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::{Shape, Weights};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn load(folder: &Folder) -> Result<Weights, LoadError> {
    let files = ModelFiles::open(folder.path())?;
    let shape = Shape::read(&files)?;
    Weights::load(&files, &shape)
}

fn assert_corrupt(folder: &Folder, named: &str) {
    let error = load(folder).expect_err(named);
    assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(named), "{error} does not name {named}");
}

fn assert_unsupported(folder: &Folder, named: &str) {
    let error = load(folder).expect_err(named);
    assert!(matches!(error, LoadError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains(named), "{error} does not name {named}");
}

/// The model after a change, in f32.
fn changed(change: impl FnOnce(&mut Written)) -> Folder {
    let mut model = qwen3();
    change(&mut model);
    model.folder(Dtype::F32)
}

#[test]
fn layers_that_would_be_left_out_are_refused() {
    let fewer = |model: &mut Written| {
        model.config =
            model.config.replace(r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 1"#);
    };
    assert_corrupt(&changed(fewer), "a tensor blk.1.");
}

#[test]
fn missing_files_are_named() {
    for name in ["config.json", WEIGHTS] {
        let folder = qwen3().folder(Dtype::F32);
        fs::remove_file(folder.file(name)).unwrap();
        let error = load(&folder).expect_err("a missing file");
        assert!(matches!(error, LoadError::Io { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        fs::create_dir(folder.file(name)).unwrap();
        assert_corrupt(&folder, name);
    }
}

#[test]
fn a_configuration_that_is_no_object_is_corrupt() {
    for text in ["", "{", "[]", "null", "\"x\"", "\u{0}", &"[".repeat(100_000)] {
        let folder = changed(|model| model.config = text.to_owned());
        assert_corrupt(&folder, "config.json");
    }
    let folder = changed(|model| model.config.push_str(&" ".repeat(5 << 20)));
    assert_corrupt(&folder, "config.json");
}

#[test]
fn families_and_weights_that_are_unknown_are_named() {
    let unknown = changed(|model| model.config = model.config.replace("qwen3", "mamba"));
    assert_unsupported(&unknown, "mamba");
    let quantised = changed(|model| {
        model.config = model.config.replacen('{', r#"{"quantization_config": {"bits": 4},"#, 1);
    });
    assert_unsupported(&quantised, "quantised");
    assert_unsupported(&qwen3().folder(Dtype::I32), "I32");
    let biased = changed(|model| {
        let mut bias = model.tensors[0].clone();
        "model.layers.0.mlp.up_proj.bias".clone_into(&mut bias.folder);
        model.tensors.push(bias);
    });
    assert_unsupported(&biased, "blk.0.ffn_up.bias");
}

#[test]
fn heads_that_make_rewards_in_unknown_ways_are_refused() {
    for name in ["score.weight", "score.0.weight", "v_head.summary.weight", "value_head.weight"] {
        let beside = changed(|model| {
            let mut head = model.tensors[0].clone();
            name.clone_into(&mut head.folder);
            model.tensors.push(head);
        });
        assert_unsupported(&beside, name);
    }
    let of_class = |class: &str| {
        changed(|model| {
            let said = format!(r#"{{"architectures": ["{class}"],"#);
            model.config = model.config.replacen('{', &said, 1);
        })
    };
    for class in ["Qwen3ForRewardModel", "Qwen3ForTokenClassification", "Qwen3Model"] {
        assert_unsupported(&of_class(class), class);
    }
    for class in ["Qwen3ForCausalLM", "Gemma3ForConditionalGeneration"] {
        assert!(load(&of_class(class)).is_ok(), "{class}");
    }
}

#[test]
fn a_missing_tensor_and_one_of_another_size_are_named() {
    for name in ["model.embed_tokens", "model.layers.1.self_attn.q_norm", "model.norm", "lm_head"] {
        let whole = format!("{name}.weight");
        let missing = changed(|model| model.tensors.retain(|tensor| tensor.folder != whole));
        let error = load(&missing).expect_err("a missing tensor");
        assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("is missing"), "{error}");
        let shorter = changed(|model| {
            let tensor = model.tensors.iter_mut().find(|tensor| tensor.folder == whole).unwrap();
            tensor.values.truncate(16);
            tensor.shape = vec![16];
        });
        assert_corrupt(&shorter, "[16]");
    }
}

#[test]
fn weights_that_are_no_numbers_are_found() {
    for number in 0..qwen3().tensors.len() {
        let mut name = String::new();
        let folder = changed(|model| {
            model.tensors[number].values[5] = f32::NAN;
            name.clone_from(&model.tensors[number].gguf);
        });
        // Rows of the table are read on demand, so it is checked only if it is also the head.
        if name != "token_embd.weight" {
            assert_corrupt(&folder, &name);
        }
    }
}

#[test]
fn sizes_in_the_configuration_that_the_weights_lack_allocate_nothing() {
    for (key, value) in [
        (r#""vocab_size": 48"#, r#""vocab_size": 16777216"#),
        (r#""hidden_size": 64"#, r#""hidden_size": 16777216"#),
        (r#""intermediate_size": 96"#, r#""intermediate_size": 16777216"#),
        (r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 65536"#),
        (r#""num_attention_heads": 4"#, r#""num_attention_heads": 16777216"#),
        (r#""head_dim": 32"#, r#""head_dim": 16777216"#),
    ] {
        let folder = changed(|model| {
            assert!(model.config.contains(key));
            model.config = model.config.replace(key, value);
        });
        let error = load(&folder).expect_err(value);
        assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_header_of_a_length_that_no_header_has_is_corrupt() {
    let folder = qwen3().folder(Dtype::F32);
    let whole = fs::read(folder.file(WEIGHTS)).unwrap();
    for length in [u64::MAX, 1 << 62, 1 << 40, 99 << 20, 0] {
        let damaged = [&length.to_le_bytes(), &whole[8..]].concat();
        fs::write(folder.file(WEIGHTS), damaged).unwrap();
        assert_corrupt(&folder, WEIGHTS);
    }
}

#[test]
fn flipped_bytes_in_the_header_never_panic() {
    let folder = qwen3().folder(Dtype::F32);
    let whole = fs::read(folder.file(WEIGHTS)).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize + 8;
    let mut state = 1u64;
    let mut refused = 0;
    for round in 0..300 {
        let mut damaged = whole.clone();
        for _ in 0..=round % 4 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            damaged[(state >> 33) as usize % header] ^= 1 << (state >> 60 & 7);
        }
        fs::write(folder.file(WEIGHTS), &damaged).unwrap();
        refused += usize::from(load(&folder).is_err());
    }
    // Padding, and names that nothing needs, may change without harm.
    assert!(refused > 250, "{refused} of 300 were refused");
}

#[test]
fn an_index_does_not_lead_out_of_its_folder() {
    for name in ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "."] {
        let folder = qwen3().sharded();
        let index = serde_json::json!({ "weight_map": { "lm_head.weight": name } });
        fs::write(folder.file(INDEX), index.to_string()).unwrap();
        assert_corrupt(&folder, INDEX);
    }
}

#[test]
fn an_index_that_disagrees_with_its_files_is_corrupt() {
    let folder = qwen3().sharded();
    let index = fs::read_to_string(folder.file(INDEX)).unwrap();
    let swapped = index.replace("model.norm.weight", "model.norm.other");
    fs::write(folder.file(INDEX), swapped).unwrap();
    assert_corrupt(&folder, "model.norm.other is not in");
    fs::write(folder.file(INDEX), r#"{"metadata": {}}"#).unwrap();
    assert_corrupt(&folder, "weight_map");
    fs::write(folder.file(INDEX), index).unwrap();
    let second = folder.file("model-2-of-2.safetensors");
    write_shard(&second, &qwen3().tensors, Dtype::F32);
    assert_corrupt(&folder, "twice");
}
