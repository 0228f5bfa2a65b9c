//! Adapters from files: what is accepted, and what is rejected by name.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tempfile::TempDir;

use super::{Adapter, LowRank, RowOrder};
use crate::error::{AdapterError, LoadError};

const MODULE: &str = "base_model.model.model.layers.3.self_attn.q_proj";
const PLAIN: &str = r#"{"peft_type": "LORA", "base_model_name_or_path": "some/model", "r": 2,
    "lora_alpha": 6, "target_modules": ["q_proj"], "bias": "none", "use_dora": false,
    "modules_to_save": null, "init_lora_weights": true, "rank_pattern": {}, "alpha_pattern": {}}"#;

fn folder(config: &str, tensors: &[(&str, [usize; 2])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adapter_config.json"), config).unwrap();
    write(&folder.path().join("adapter_model.safetensors"), tensors);
    folder
}

/// Matrices of 0, 1, 2 ...
fn write(path: &Path, tensors: &[(&str, [usize; 2])]) {
    let bytes: HashMap<&str, Vec<u8>> = tensors
        .iter()
        .map(|&(name, [rows, columns])| {
            (name, (0..rows * columns).flat_map(|at| (at as f32).to_le_bytes()).collect())
        })
        .collect();
    let views = tensors.iter().map(|&(name, shape)| {
        (name, TensorView::new(Dtype::F32, shape.to_vec(), &bytes[name]).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

fn pair(a: [usize; 2], b: [usize; 2]) -> [(String, [usize; 2]); 2] {
    [(format!("{MODULE}.lora_A.weight"), a), (format!("{MODULE}.lora_B.weight"), b)]
}

fn read(config: &str, a: [usize; 2], b: [usize; 2]) -> Result<Adapter, LoadError> {
    let pair = pair(a, b);
    let tensors = pair.each_ref().map(|(name, shape)| (name.as_str(), *shape));
    Adapter::read(folder(config, &tensors).path())
}

#[test]
fn pefts_folder_is_read() {
    let adapter = read(PLAIN, [2, 3], [4, 2]).unwrap();
    let (name, part) = adapter.parts().next().unwrap();
    assert_eq!((name, adapter.base(), adapter.rank()), ("blk.3.attn_q", Some("some/model"), 2));
    assert_eq!((part.inputs, part.outputs, part.scale), (3, 4, 3.0));
    assert_eq!(part.a, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!((adapter.order(), adapter.parameters()), (RowOrder::HuggingFace, 14));
    let of_root = PLAIN.replace(r#""r": 2"#, r#""r": 2, "use_rslora": true"#);
    let (_, part) = read(&of_root, [2, 3], [4, 2]).unwrap().parts.pop_first().unwrap();
    assert_eq!(part.scale, (6.0 / 2f64.sqrt()) as f32);
    let own_alpha =
        PLAIN.replace(r#""alpha_pattern": {}"#, r#""alpha_pattern": {"self_attn.q_proj": 16}"#);
    let (_, part) = read(&own_alpha, [2, 3], [4, 2]).unwrap().parts.pop_first().unwrap();
    assert_eq!(part.scale, 8.0);
}

#[test]
fn the_digest_is_of_the_content_alone() {
    let folder_of = |tensors: &[(&str, [usize; 2])]| folder(PLAIN, tensors);
    let one = read(PLAIN, [2, 3], [4, 2]).unwrap();
    let named = pair([2, 3], [4, 2])
        .map(|(name, shape)| (name.replace(".weight", ".default.weight"), shape));
    let other = folder_of(&named.each_ref().map(|(name, shape)| (name.as_str(), *shape)));
    assert_eq!(Adapter::read(other.path()).unwrap().digest(), one.digest());
    let by_file = Adapter::read(&other.path().join("adapter_model.safetensors")).unwrap();
    assert_eq!(by_file.digest(), one.digest());
    let scaled = PLAIN.replace(r#""lora_alpha": 6"#, r#""lora_alpha": 7"#);
    assert_ne!(read(&scaled, [2, 3], [4, 2]).unwrap().digest(), one.digest());
    assert_eq!(one.digest().len(), 64);
}

#[test]
fn what_peft_can_and_the_engine_cannot_is_refused_by_name() {
    for (from, to, named) in [
        (r#""use_dora": false"#, r#""use_dora": true"#, "use_dora"),
        (r#""bias": "none""#, r#""bias": "lora_only""#, "lora_only"),
        (r#""modules_to_save": null"#, r#""modules_to_save": ["lm_head"]"#, "modules_to_save"),
        (r#""LORA""#, r#""IA3""#, "IA3"),
        (
            r#""init_lora_weights": true"#,
            r#""init_lora_weights": "pissa_niter_4""#,
            "pissa_niter_4",
        ),
        (r#""alpha_pattern": {}"#, r#""alpha_pattern": {".*q": 3}"#, "alpha_pattern"),
        (r#""r": 2"#, r#""fan_in_fan_out": true"#, "fan_in_fan_out"),
    ] {
        let error = read(&PLAIN.replace(from, to), [2, 3], [4, 2]).unwrap_err();
        assert!(matches!(error, LoadError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
    let pair = pair([2, 3], [4, 2]);
    for extra in [
        "base_model.model.model.layers.3.self_attn.q_proj.lora_magnitude_vector.weight",
        "base_model.model.lm_head.weight",
        "base_model.model.model.embed_tokens.lora_embedding_A",
    ] {
        let mut tensors = pair.each_ref().map(|(name, shape)| (name.as_str(), *shape)).to_vec();
        tensors.push((extra, [2, 2]));
        let error = Adapter::read(folder(PLAIN, &tensors).path()).unwrap_err().to_string();
        assert!(error.contains(extra), "{error}");
    }
    let pickle = Adapter::read(Path::new("adapter_model.bin")).unwrap_err().to_string();
    assert!(pickle.contains("safetensors"), "{pickle}");
}

#[test]
fn damaged_folders_say_what_is_wrong() {
    let ranks = read(PLAIN, [2, 3], [4, 3]).unwrap_err().to_string();
    assert!(ranks.contains("2 x 3") && ranks.contains("4 x 3"), "{ranks}");
    let [(a, _), _] = pair([2, 3], [4, 2]);
    let alone = Adapter::read(folder(PLAIN, &[(&a, [2, 3])]).path()).unwrap_err().to_string();
    assert!(alone.contains("lora_B"), "{alone}");
    let nothing = Adapter::read(folder(PLAIN, &[]).path()).unwrap_err().to_string();
    assert!(nothing.contains("no matrices"), "{nothing}");
    let no_alpha = read(&PLAIN.replace("lora_alpha", "alpha"), [2, 3], [4, 2]).unwrap_err();
    assert!(no_alpha.to_string().contains("lora_alpha is missing"), "{no_alpha}");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Adapter::read(empty.path()), Err(LoadError::Io { .. })));
    let odd = "base_model.model.model.layers.0.vision.proj";
    let odd = [format!("{odd}.lora_A.weight"), format!("{odd}.lora_B.weight")];
    let odd = folder(PLAIN, &[(&odd[0], [2, 3]), (&odd[1], [4, 2])]);
    let error = Adapter::read(odd.path()).unwrap_err().to_string();
    assert!(error.contains("model.layers.0.vision.proj is no projection"), "{error}");
}

#[test]
fn matrices_in_memory_are_held_to_their_sizes() {
    let part =
        LowRank { rank: 2, inputs: 3, outputs: 4, scale: 1.0, a: vec![1.0; 6], b: vec![1.0; 8] };
    let make = |part: LowRank| Adapter::new(RowOrder::Gguf, [("blk.0.attn_q".to_owned(), part)]);
    assert!(make(part.clone()).is_ok());
    for (broken, named) in [
        (LowRank { rank: 0, ..part.clone() }, "rank 0"),
        (LowRank { a: vec![1.0; 5], ..part.clone() }, "A has 5 numbers instead of 2 x 3"),
        (LowRank { b: vec![f32::NAN; 8], ..part.clone() }, "not finite"),
        (LowRank { scale: f32::INFINITY, ..part.clone() }, "scale"),
    ] {
        let error = make(broken).unwrap_err().to_string();
        assert!(error.contains("blk.0.attn_q") && error.contains(named), "{error}");
    }
    assert_eq!(Adapter::new(RowOrder::Gguf, []).unwrap_err(), AdapterError::Empty);
    for other in ["model.layers.0.self_attn.q_proj", "blk.00.attn_q"] {
        let both = ["blk.0.attn_q", other].map(|name| (name.to_owned(), part.clone()));
        let twice = Adapter::new(RowOrder::Gguf, both).unwrap_err().to_string();
        assert!(twice.contains("twice"), "{twice}");
    }
}
