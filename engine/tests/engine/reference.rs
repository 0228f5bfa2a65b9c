//! Against independent implementations on the same file: candle-transformers with its quantised products, and with
//! the weights dequantised to f32.
//!
//! Both quantised implementations round activations to 8 bits, each in its own way, so neither is exact: the
//! distance is measured as the KL divergence of the next-token distributions from f32's. Found with 22 prompts
//! and 6 greedy tokens each: see the assertions, which hold the tolerance.

use candle_core::quantized::gguf_file::{Content, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

use std::fs::File;
use std::io::Cursor;

use crate::support::{PROMPTS, config, load, model_path, user};

/// Greedy tokens compared after each prompt.
const TOKENS: usize = 6;

fn candle() -> ModelWeights {
    let mut file = File::open(model_path()).unwrap();
    let content = Content::read(&mut file).unwrap();
    ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap()
}

/// The same file with every weight as f32.
fn candle_f32() -> ModelWeights {
    let mut file = File::open(model_path()).unwrap();
    let content = Content::read(&mut file).unwrap();
    let device = Device::Cpu;
    let names: Vec<String> = content.tensor_infos.keys().cloned().collect();
    let tensors: Vec<QTensor> = names
        .iter()
        .map(|name| {
            let tensor = content.tensor(&mut file, name, &device).unwrap();
            QTensor::quantize(&tensor.dequantize(&device).unwrap(), GgmlDType::F32).unwrap()
        })
        .collect();
    let metadata: Vec<(&str, &_)> =
        content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let named: Vec<(&str, &QTensor)> = names.iter().map(String::as_str).zip(&tensors).collect();
    let mut bytes = Cursor::new(Vec::new());
    write(&mut bytes, &metadata, &named).unwrap();
    bytes.set_position(0);
    let content = Content::read(&mut bytes).unwrap();
    ModelWeights::from_gguf(content, &mut bytes, &device).unwrap()
}

fn candle_logits(model: &mut ModelWeights, tokens: &[u32], position: usize) -> Vec<f32> {
    let input = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    model.forward(&input, position).unwrap().squeeze(0).unwrap().to_vec1().unwrap()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - top).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit) - top - sum.ln()).collect()
}

fn divergence(truth: &[f64], other: &[f64]) -> f64 {
    truth.iter().zip(other).map(|(truth, other)| truth.exp() * (truth - other)).sum()
}

fn top(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

#[test]
fn logits_and_greedy_continuations_are_as_near_to_f32_as_another_quantised_implementation() {
    let mut engine = load(&config(2));
    let (mut quantised, mut exact) = (candle(), candle_f32());
    let (mut own_sum, mut other_sum, mut worst, mut positions) = (0.0, 0.0, 0.0f64, 0.0);
    let (mut same, mut clear_mistakes) = (0.0, 0);
    for text in PROMPTS {
        let mut tokens = engine.encode(&user(text)).unwrap();
        let mut fresh = 0;
        for _ in 0..TOKENS {
            let own_logits = engine.logits_after(&tokens).unwrap();
            let other = log_softmax(&candle_logits(&mut quantised, &tokens[fresh..], fresh));
            let truth_logits = candle_logits(&mut exact, &tokens[fresh..], fresh);
            fresh = tokens.len();
            let (own, truth) = (log_softmax(&own_logits), log_softmax(&truth_logits));
            let own_divergence = divergence(&truth, &own);
            own_sum += own_divergence;
            other_sum += divergence(&truth, &other);
            worst = worst.max(own_divergence);
            positions += 1.0;
            let (own_top, truth_top) = (top(&own_logits), top(&truth_logits));
            same += f64::from(u8::from(own_top == truth_top));
            // A different choice is only rounding where f32 itself hardly prefers its own.
            let lead = truth[truth_top as usize] - truth[own_top as usize];
            clear_mistakes += u32::from(lead > 0.25);
            tokens.push(truth_top);
        }
    }
    let (own, other, same) = (own_sum / positions, other_sum / positions, same / positions);
    println!(
        "mean KL from f32: {own:.5} (candle's {other:.5}), worst {worst:.4}, same top {same:.3}"
    );
    assert!(own < 0.004, "mean KL {own}");
    assert!(own < other * 1.5 + 0.0005, "mean KL {own}, candle's {other}");
    assert!(worst < 0.05, "worst KL {worst}");
    assert!(same >= 0.95, "same top token: {same}");
    assert_eq!(clear_mistakes, 0);
}
