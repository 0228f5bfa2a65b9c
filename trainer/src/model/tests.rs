//! The tiny random models of the engine's fixtures: log-probabilities compared with transformers', gradients with
//! finite differences.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;

use super::*;

const FAMILIES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"];

pub fn fixture(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures").join(family)
}

/// Tokens of the first sequence, and transformers' logits after each of its last 8.
pub fn expected(family: &str) -> (Vec<u32>, Vec<Vec<f32>>) {
    let bytes = std::fs::read(fixture(family).join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> {
        tensors.tensor(name).unwrap().data().as_chunks().0.to_vec()
    };
    let length = tensors.tensor("tokens").unwrap().shape()[1];
    let logits = tensors.tensor("logits").unwrap();
    let [_, shown, vocabulary] = *logits.shape() else { panic!("{:?}", logits.shape()) };
    let tokens = words("tokens")[..length].iter().map(|&word| u32::from_le_bytes(word)).collect();
    let logits: Vec<f32> = words("logits").into_iter().map(f32::from_le_bytes).collect();
    (tokens, logits.chunks_exact(vocabulary).take(shown).map(<[f32]>::to_vec).collect())
}

fn log_prob(logits: &[f32], target: u32) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
    f64::from(logits[target as usize] - top) - total.ln()
}

fn lora() -> Tuning {
    Tuning::Lora(LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::all_matrices() })
}

/// Sets adapters so that `up` is not 0 and both matrices have gradients.
fn stir(model: &Model) {
    for (number, parameter) in model.parameters().iter().enumerate() {
        let size = parameter.var.elem_count();
        let noise: Vec<f32> =
            (0..size).map(|at| ((at * 7 + number * 13) as f32 * 0.37).sin() * 0.02).collect();
        let noise = Tensor::from_vec(noise, parameter.var.shape(), &Device::Cpu).unwrap();
        parameter.var.set(&(parameter.var.as_tensor() + noise).unwrap()).unwrap();
    }
}

#[test]
fn log_probabilities_are_those_of_transformers() {
    for family in FAMILIES {
        let (tokens, logits) = expected(family);
        let model = Model::load(&fixture(family), lora(), 0).unwrap();
        let start = tokens.len() - logits.len() + 1;
        let found = model.pass(&Sequence { tokens: tokens.clone(), start }).unwrap();
        assert_eq!(found.log_probs.len(), logits.len() - 1);
        for (index, found) in found.log_probs.iter().enumerate() {
            let expected = log_prob(&logits[index], tokens[start + index]);
            assert!((f64::from(*found) - expected).abs() < 1e-3, "{family}: {found} {expected}");
        }
    }
}

#[derive(serde::Deserialize)]
struct TorchGradients {
    loss: f64,
    /// By name: the norm of the gradient, and its product with sines.
    gradients: std::collections::BTreeMap<String, [f64; 2]>,
}

#[test]
fn gradients_are_those_of_pytorch() {
    let committed = include_str!("../../tests/gradients.json");
    let by_family: std::collections::BTreeMap<String, TorchGradients> =
        serde_json::from_str(committed).unwrap();
    for family in FAMILIES {
        let expected = &by_family[family];
        let (tokens, _) = self::expected(family);
        let model = Model::load(&fixture(family), Tuning::Full, 0).unwrap();
        let sequence = Sequence { tokens: tokens[..32].to_vec(), start: 20 };
        let mut gradients = model.no_gradients();
        let passed = model.learn(&sequence, mean_nll, &mut gradients).unwrap();
        assert!((passed.loss - expected.loss).abs() < 1e-4, "{family}: {}", passed.loss);
        assert_eq!(model.parameters().len(), expected.gradients.len(), "{family}");
        for (index, parameter) in model.parameters().iter().enumerate() {
            let [length, along] = expected.gradients[&parameter.name];
            let slope = gradients.of(index).unwrap().flatten_all().unwrap();
            let slope: Vec<f32> = slope.to_vec1().unwrap();
            let found = slope.iter().map(|&at| f64::from(at).powi(2)).sum::<f64>().sqrt();
            let sines = slope.iter().enumerate();
            let found_along: f64 =
                sines.map(|(at, &slope)| f64::from(slope) * (0.7 * at as f64).sin()).sum();
            let name = &parameter.name;
            let most = 2e-3 * length + 1e-5;
            assert!((found - length).abs() < most, "{family} {name}: {found}, torch {length}");
            assert!((found_along - along).abs() < most, "{family} {name}: {found_along}, {along}");
        }
    }
}

/// The derivative along `direction` of parameter `index`, by finite differences of the loss.
fn by_differences(model: &Model, sequence: &Sequence, index: usize, direction: &Tensor) -> f64 {
    let var = &model.parameters()[index].var;
    let before = var.as_tensor().detach().copy().unwrap();
    let loss = |step: f64| {
        var.set(&(&before + (direction * step).unwrap()).unwrap()).unwrap();
        let found = model.pass(sequence).unwrap().log_probs;
        -found.iter().map(|&log_prob| f64::from(log_prob)).sum::<f64>() / found.len() as f64
    };
    let step = 2e-3;
    let slope = (loss(step) - loss(-step)) / (2.0 * step);
    var.set(&before).unwrap();
    slope
}

#[test]
fn gradients_are_differences_of_the_loss_for_adapters_and_for_all_weights() {
    for family in FAMILIES {
        let (tokens, _) = expected(family);
        for tuning in [lora(), Tuning::Full] {
            let model = Model::load(&fixture(family), tuning.clone(), 3).unwrap();
            stir(&model);
            let sequence = Sequence { tokens: tokens[..32].to_vec(), start: 20 };
            let mut gradients = model.no_gradients();
            model.learn(&sequence, mean_nll, &mut gradients).unwrap();
            for index in (0..model.parameters().len()).step_by(3) {
                let name = &model.parameters()[index].name;
                let slope = gradients.of(index).unwrap_or_else(|| panic!("{family}: {name}"));
                // Along the gradient itself, the derivative is the gradient's norm.
                let length = slope.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
                let length = f64::from(length).sqrt();
                if length < 1e-3 {
                    continue;
                }
                let direction = (slope / length).unwrap();
                let found = by_differences(&model, &sequence, index, &direction);
                let error = (found - length).abs() / length;
                assert!(error < 0.03, "{family} {name}: {found} instead of {length}");
            }
        }
    }
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let (tokens, _) = expected("llama");
    let sequence = Sequence { tokens, start: 5 };
    let adapted = Model::load(&fixture("llama"), lora(), 1).unwrap().pass(&sequence).unwrap();
    let plain = Model::load(&fixture("llama"), Tuning::Full, 1).unwrap().pass(&sequence).unwrap();
    for (one, other) in adapted.log_probs.iter().zip(plain.log_probs) {
        assert!((one - other).abs() < 1e-5);
    }
}

#[test]
fn equal_sequences_give_equal_bits() {
    let (tokens, _) = expected("qwen2");
    let sequence = Sequence { tokens, start: 5 };
    let gradient = || {
        let model = Model::load(&fixture("qwen2"), lora(), 1).unwrap();
        stir(&model);
        let mut gradients = model.no_gradients();
        let passed = model.learn(&sequence, mean_nll, &mut gradients).unwrap();
        let first: Vec<f32> = gradients.of(0).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        (passed, first)
    };
    assert_eq!(gradient(), gradient());
}

#[test]
fn graphs_that_are_kept_give_the_bits_of_graphs_made_anew() {
    for family in ["llama", "gemma2"] {
        let (tokens, _) = expected(family);
        let sequence = Sequence { tokens, start: 5 };
        for tuning in [lora(), Tuning::Full] {
            let model = Model::load(&fixture(family), tuning, 1).unwrap();
            stir(&model);
            let gradients = |keeps_graphs| {
                let mut sum = model.no_gradients();
                let passed = model.learn_in(&sequence, keeps_graphs, mean_nll, &mut sum).unwrap();
                let floats = |at| sum.of(at).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                let all: Vec<Vec<f32>> = (0..model.parameters().len()).map(floats).collect();
                (passed, all)
            };
            assert_eq!(gradients(true), gradients(false), "{family}");
        }
    }
}

#[test]
fn what_no_model_can_take_is_refused_by_name() {
    let model = Model::load(&fixture("llama"), lora(), 0).unwrap();
    for (tokens, start, why) in [
        (vec![1, 2, 3], 0, "a prompt and a completion"),
        (vec![1, 2, 3], 3, "a prompt and a completion"),
        (vec![1; 200], 5, "a context of 128"),
        (vec![1, 2, 9999], 1, "token 9999 of a vocabulary of 320"),
    ] {
        let error = model.pass(&Sequence { tokens, start }).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let targets = vec!["q_prj".to_owned()];
    let lora = LoraConfig { targets, ..LoraConfig::all_matrices() };
    let error = Model::load(&fixture("llama"), Tuning::Lora(lora), 0).unwrap_err();
    assert!(error.to_string().contains("q_proj"), "{error}");
}

#[test]
fn an_adapter_computes_what_merged_weights_compute() {
    for family in ["llama", "qwen2", "gemma2"] {
        let (tokens, _) = expected(family);
        let sequence = Sequence { tokens, start: 5 };
        let adapted = Model::load(&fixture(family), lora(), 1).unwrap();
        stir(&adapted);
        let merged = Model::load(&fixture(family), Tuning::Full, 1).unwrap();
        let Tuning::Lora(lora) = adapted.tuning() else { panic!() };
        for pair in adapted.parameters().chunks(2) {
            let [down, up] = pair else { panic!() };
            let name = format!("{}.weight", down.name.trim_end_matches(".lora_A.weight"));
            let weight = merged.parameters().iter().find(|weight| weight.name == name).unwrap();
            let addition = up.var.matmul(down.var.as_tensor()).unwrap();
            let sum = (weight.var.as_tensor() + (addition * lora.scale()).unwrap()).unwrap();
            weight.var.set(&sum).unwrap();
        }
        let (one, other) = (adapted.pass(&sequence).unwrap(), merged.pass(&sequence).unwrap());
        for (one, other) in one.log_probs.iter().zip(other.log_probs) {
            assert!((one - other).abs() < 1e-3, "{family}: {one} {other}");
        }
    }
}
