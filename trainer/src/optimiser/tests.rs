use std::collections::BTreeMap;

use super::*;
use crate::model::tests::{expected, fixture};
use crate::model::{Sequence, Tuning, mean_nll};

const CONSTANT: OptimiserConfig = OptimiserConfig {
    learning_rate: 1e-3,
    warmup: 0,
    cosine_steps: None,
    weight_decay: 0.1,
    clip: 50.0,
};

#[test]
fn the_rate_grows_in_a_line_and_falls_by_a_cosine_to_a_tenth() {
    let config =
        OptimiserConfig { learning_rate: 1.0, warmup: 4, cosine_steps: Some(14), ..CONSTANT };
    assert_eq!([0, 1, 2, 3].map(|step| config.rate(step)), [0.25, 0.5, 0.75, 1.0]);
    assert_eq!(config.rate(4), 1.0);
    assert!((config.rate(9) - 0.55).abs() < 1e-12);
    assert!((config.rate(14) - 0.1).abs() < 1e-12);
    assert!((config.rate(99) - 0.1).abs() < 1e-12);
    assert_eq!(OptimiserConfig { cosine_steps: None, ..config }.rate(99), 1.0);
}

/// Made by trainer/tests/gradients.py.
#[derive(serde::Deserialize)]
struct Torch {
    losses: Vec<f64>,
    norms: Vec<f64>,
    /// By weight: how far it moved, and that along sin(0.7 * place).
    moved: BTreeMap<String, [f64; 2]>,
}

#[test]
fn steps_are_those_of_pytorch_clipped_and_not() {
    let torch: Torch = serde_json::from_str(include_str!("../../tests/adamw.json")).unwrap();
    let is_clipped = |norm: &&f64| **norm > CONSTANT.clip;
    assert!(torch.norms.iter().any(|norm| is_clipped(&norm)));
    assert!(!torch.norms.iter().all(|norm| is_clipped(&norm)));
    let (tokens, _) = expected("llama");
    let sequence = Sequence { tokens: tokens[..32].to_vec(), start: 20 };
    let model = Model::load(&fixture("llama"), Tuning::Full, 0).unwrap();
    let values = |model: &Model| -> Vec<Vec<f32>> {
        let value = |value: &Tensor| value.flatten_all().unwrap().to_vec1().unwrap();
        model.values().unwrap().iter().map(value).collect()
    };
    let before = values(&model);
    let mut optimiser = AdamW::new(&model, CONSTANT);
    for (loss, norm) in torch.losses.iter().zip(&torch.norms) {
        let mut gradients = model.no_gradients();
        let passed = model.learn(&sequence, mean_nll, &mut gradients).unwrap();
        let stepped = optimiser.step(&model, &gradients, 1.0).unwrap();
        assert!((passed.loss - loss).abs() < 1e-3, "{}, torch {loss}", passed.loss);
        assert!((stepped.gradient_norm - norm).abs() < 2e-3 * norm, "{stepped:?}, torch {norm}");
    }
    let after = values(&model);
    assert_eq!(model.parameters().len(), torch.moved.len());
    for ((parameter, before), after) in model.parameters().iter().zip(&before).zip(&after) {
        let [length, along] = torch.moved[&parameter.name];
        let moved = before.iter().zip(after).map(|(before, after)| f64::from(after - before));
        let found = moved.clone().map(|by| by * by).sum::<f64>().sqrt();
        let found_along: f64 = moved.enumerate().map(|(at, by)| by * (0.7 * at as f64).sin()).sum();
        let (name, most) = (&parameter.name, 5e-3 * length);
        assert!((found - length).abs() < most, "{name}: {found}, torch {length}");
        assert!((found_along - along).abs() < most, "{name}: {found_along}, torch {along}");
    }
}
