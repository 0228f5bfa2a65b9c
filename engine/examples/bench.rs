//! Measures prefill and decoding: `bench MODEL.gguf [prompt tokens] [generated tokens] [k,k,...] [rounds] [threads]`.
//!
//! Prints the median over the rounds, in tokens a second, and the counters that prove what was computed: the
//! prompt once for each measurement, with a cold cache.

use std::path::Path;
use std::time::Instant;

use jury_engine::{
    Engine, EngineConfig, Event, Group, Message, NoWatch, Prompt, Role, SampleSpec, Sampling, Span,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize, default: usize| -> Result<usize, Failure> {
        Ok(arguments.get(index).map_or(Ok(default), |text| text.parse())?)
    };
    let path = arguments.get(1).ok_or("which model?")?;
    let (prompt_tokens, generated) = (number(2, 512)?, number(3, 64)?);
    let counts = arguments.get(4).map_or("1,8,32", String::as_str);
    let counts: Vec<usize> = counts.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let rounds = number(5, 3)?;
    let threads = arguments.get(6).map(|text| text.parse()).transpose()?;
    let kv_budget_bytes = Some(4 << 30);
    let config = EngineConfig { kv_budget_bytes, threads, ..EngineConfig::default() };
    let mut engine = Engine::load(Path::new(path), &config)?;
    let text = "The committee read every answer twice before it wrote down a score. ".repeat(2_000);
    let message = Message { role: Role::User, spans: vec![Span::untrusted(text)] };
    let mut prompt = engine.encode(&Prompt { messages: vec![message] })?;
    prompt.truncate(prompt_tokens);
    for k in counts {
        let (mut prefills, mut decodes) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let (prefill, decode) = measure(&mut engine, &prompt, k, generated, round as u64)?;
            prefills.push(prefill);
            decodes.push(decode);
        }
        println!(
            "k {k:3}: prefill {:7.1} tok/s, decode {:7.1} tok/s",
            median(&mut prefills),
            median(&mut decodes)
        );
    }
    println!("{:?}", engine.counters());
    Ok(())
}

/// Prefill and decode rates, in tokens a second.
fn measure(
    engine: &mut Engine,
    prompt: &[u32],
    k: usize,
    generated: usize,
    round: u64,
) -> Result<(f64, f64), Failure> {
    engine.flush_prefix_cache();
    let sample = |index: usize| SampleSpec {
        sampling: Sampling { temperature: 0.8, top_p: 0.95, seed: round * 1_000 + index as u64 },
        max_tokens: generated,
        watch: Box::new(NoWatch),
        readout: None,
    };
    let before = engine.counters();
    let samples = (0..k).map(sample).collect();
    engine.submit(Group { prompt: prompt.to_vec(), samples })?;
    let mut events = Vec::new();
    let started = Instant::now();
    while !events.iter().any(|event| matches!(event, Event::Prefilled { .. })) {
        engine.step(&mut events);
    }
    let prefill_seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    while !engine.is_idle() {
        engine.step(&mut events);
    }
    let decode_seconds = started.elapsed().as_secs_f64();
    let after = engine.counters();
    let prefilled = after.prefill_tokens - before.prefill_tokens;
    if prefilled != prompt.len() as u64 {
        return Err(format!("{prefilled} prompt tokens were computed").into());
    }
    // A sample's first token comes out of the prompt's logits: no step of its own.
    let decoded = after.decode_tokens - before.decode_tokens - k as u64;
    Ok((prefilled as f64 / prefill_seconds, decoded as f64 / decode_seconds))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
