//! Compares a model's logits with those of the same weights computed in f32: `accuracy MODEL F32-MODEL TEXT.jsonl
//! [positions] [truth.bin]`.
//!
//! The reference is candle on the CPU with the weights of F32-MODEL (made by `llama-quantize --allow-requantize MODEL
//! F32-MODEL F32`) and float keys and values. It is slow, so its results are stored in `truth.bin` and reused if that
//! file exists. Every line of the text is one sequence, cut at 384 tokens; every position after the first 16 counts.
//! Prints KL divergence, agreement of the most probable token, and the mean negative log-likelihood of the text's own
//! tokens, in nats.

#![allow(clippy::print_stderr)]

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use jury_engine::{DeviceKind, Engine, EngineConfig, Message, Prompt, Role, Span};

type Failure = Box<dyn std::error::Error>;

/// Maximum tokens of a sequence, and how many at its beginning do not count.
const LONGEST: usize = 384;
const WARM_UP: usize = 16;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let model = arguments.get(1).ok_or("which model?")?;
    let exact_model = arguments.get(2).ok_or("which file has the same weights in f32?")?;
    let text = arguments.get(3).ok_or("which text?")?;
    let positions: usize = arguments.get(4).map_or(Ok(500), |number| number.parse())?;
    let kept = Path::new(arguments.get(5).map_or("truth.bin", String::as_str));
    let mut own = Engine::load(Path::new(model), &EngineConfig::default())?;
    let sequences = sequences(&own, text, positions)?;
    let vocabulary = own.model().vocabulary;
    if !kept.exists() {
        let config = EngineConfig { device: DeviceKind::CandleCpu, ..EngineConfig::default() };
        let mut truth = Engine::load(Path::new(exact_model), &config)?;
        let mut file = BufWriter::new(File::create(kept)?);
        for (number, sequence) in sequences.iter().enumerate() {
            for end in WARM_UP..sequence.len() {
                for logit in truth.logits_after(&sequence[..end])? {
                    file.write_all(&logit.to_le_bytes())?;
                }
            }
            eprintln!("truth: {} of {} sequences", number + 1, sequences.len());
        }
        file.flush()?;
    }
    let mut truth = BufReader::new(File::open(kept)?);
    let mut bytes = vec![0; vocabulary * 4];
    let (mut count, mut divergence, mut worst, mut same) = (0, 0.0, 0.0f64, 0);
    let mut likelihood = [0.0; 2];
    for sequence in &sequences {
        for end in WARM_UP..sequence.len() {
            truth.read_exact(&mut bytes)?;
            let exact: Vec<f32> =
                bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            let exact = log_softmax(&exact);
            let ours = log_softmax(&own.logits_after(&sequence[..end])?);
            let here: f64 = exact.iter().zip(&ours).map(|(a, b)| a.exp() * (a - b)).sum();
            divergence += here;
            worst = worst.max(here);
            same += usize::from(top(&exact) == top(&ours));
            likelihood[0] -= exact[sequence[end] as usize];
            likelihood[1] -= ours[sequence[end] as usize];
            count += 1;
        }
    }
    let mean = |sum: f64| sum / f64::from(count);
    println!(
        "{count} positions: KL mean {:.5}, worst {worst:.4}; same top token {:.4}; NLL {:.4}, in f32 {:.4}",
        mean(divergence),
        mean(same as f64),
        mean(likelihood[1]),
        mean(likelihood[0]),
    );
    Ok(())
}

/// Token sequences with `positions` counted positions in total.
fn sequences(engine: &Engine, text: &str, positions: usize) -> Result<Vec<Vec<u32>>, Failure> {
    let mut sequences = Vec::new();
    let mut left = positions;
    for line in BufReader::new(File::open(text)?).lines() {
        let message = Message { role: Role::User, spans: vec![Span::untrusted(line?)] };
        let mut tokens = engine.encode(&Prompt { messages: vec![message] })?;
        tokens.truncate(LONGEST.min(WARM_UP + left));
        if tokens.len() <= WARM_UP {
            continue;
        }
        left -= tokens.len() - WARM_UP;
        sequences.push(tokens);
        if left == 0 {
            return Ok(sequences);
        }
    }
    Err(format!("the text is {left} positions too short").into())
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - top).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit) - top - sum.ln()).collect()
}

fn top(log_probabilities: &[f64]) -> usize {
    let by_value = |a: &usize, b: &usize| log_probabilities[*a].total_cmp(&log_probabilities[*b]);
    (0..log_probabilities.len()).max_by(by_value).unwrap_or(0)
}
