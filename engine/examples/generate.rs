//! Draws samples of one prompt and prints them: `generate MODEL.gguf "prompt" [samples] [tokens]`.

use std::path::Path;
use std::time::Instant;

use jury_engine::{
    Engine, EngineConfig, Event, Group, Message, NoWatch, Prompt, Role, SampleSpec, Sampling, Span,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(1).ok_or("which model?")?;
    let text = arguments.get(2).map_or("Why is the sky blue?", String::as_str);
    let samples: usize = arguments.get(3).map_or(Ok(2), |number| number.parse())?;
    let max_tokens: usize = arguments.get(4).map_or(Ok(64), |number| number.parse())?;
    let started = Instant::now();
    let mut engine = Engine::load(Path::new(path), &EngineConfig::default())?;
    println!("{:?}\nloaded in {:?}, {}", engine.model(), started.elapsed(), engine.kernels());
    let message = Message { role: Role::User, spans: vec![Span::untrusted(text)] };
    let prompt = engine.encode(&Prompt { messages: vec![message] })?;
    println!("{} prompt tokens: {prompt:?}", prompt.len());
    let sample = |index: usize| SampleSpec {
        sampling: Sampling {
            temperature: if index == 0 { 0.0 } else { 0.5 },
            top_p: 0.95,
            seed: index as u64,
        },
        max_tokens,
        watch: Box::new(NoWatch),
        readout: None,
        last_hidden: false,
        ignores_end: false,
    };
    engine.submit(Group {
        prompt,
        samples: (0..samples).map(sample).collect(),
        cache_salt: None,
    })?;
    let started = Instant::now();
    let mut events = Vec::new();
    while !engine.is_idle() {
        engine.step(&mut events);
    }
    for event in events {
        if let Event::Finished { sample, output, .. } = event {
            println!(
                "--- {sample}: {:?} after {} tokens\n{}",
                output.finish, output.generated_tokens, output.text
            );
        }
    }
    println!("{:?}\n{:?}", started.elapsed(), engine.counters());
    Ok(())
}
