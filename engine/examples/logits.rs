//! Computes a model's logits for lists of tokens, or checks that samples are the same under any schedule, on a chosen
//! device:
//!
//! ```text
//! logits MODEL [--device cpu|cuda:N] --tokens FILE.json --out FILE.safetensors
//! logits MODEL [--device cpu|cuda:N] --schedules N [--seed S]
//! ```
//!
//! `FILE.json` is a list of lists of tokens. The output's tensor `logits` (float32, lists x vocabulary) has the logits
//! of the token after each list. With `--schedules`, some samples are drawn alone, then N times in another order of
//! arrival, beside others, with other chunks and cache hits; one line of JSON says whether all texts and probabilities
//! were bit-identical.

use std::collections::BTreeMap;
use std::path::Path;

use jury_engine::{
    DeviceKind, Engine, EngineConfig, Event, Group, GroupId, NoWatch, SampleOutput, SampleSpec,
    Sampling,
};
use safetensors::tensor::{Dtype, TensorView};

type Failure = Box<dyn std::error::Error>;

/// Samples per prompt, prompts, and tokens per sample.
const SAMPLES: usize = 4;
const PROMPTS: usize = 6;
const TOKENS: usize = 24;

const USAGE: &str = "\
logits MODEL [--device cpu|cuda:N] --tokens FILE.json --out FILE.safetensors
logits MODEL [--device cpu|cuda:N] --schedules N [--seed S]";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let model = arguments.first().ok_or("which model? --help tells how to ask")?;
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let device = match option("--device").unwrap_or("cpu").split_once(':') {
        Some(("cuda", ordinal)) => DeviceKind::Cuda(ordinal.parse()?),
        None => DeviceKind::Cpu,
        _ => return Err("--device must be cpu or cuda:N".into()),
    };
    // Leaves room for other programs on the card, and saves the time to allocate unneeded pages.
    let config = EngineConfig { device, kv_budget_bytes: Some(8 << 30), ..EngineConfig::default() };
    if let Some(schedules) = option("--schedules") {
        let seed = option("--seed").map_or(Ok(0), str::parse)?;
        return compare_schedules(Path::new(model), &config, schedules.parse()?, seed);
    }
    let tokens = option("--tokens").ok_or("--tokens or --schedules?")?;
    let out = option("--out").ok_or("--out FILE.safetensors?")?;
    let lists: Vec<Vec<u32>> = serde_json::from_slice(&std::fs::read(tokens)?)?;
    let mut engine = Engine::load(Path::new(model), &config)?;
    let mut bytes = Vec::new();
    for list in &lists {
        bytes.extend(engine.logits_after(list)?.iter().flat_map(|logit| logit.to_le_bytes()));
    }
    let shape = vec![lists.len(), bytes.len() / 4 / lists.len().max(1)];
    let tensor = TensorView::new(Dtype::F32, shape, &bytes)?;
    safetensors::serialize_to_file([("logits", tensor)], None, Path::new(out))?;
    println!("{{\"lists\":{},\"numerics\":{:?}}}", lists.len(), engine.numerics());
    Ok(())
}

/// Counter-based, so that a schedule can be repeated by its number.
fn random(seed: u64, draw: u64, below: u64) -> u64 {
    let mut bits =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ draw.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 29;
    bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits >> 32) % below
}

/// Prompts of 20 to 600 tokens; half of them begin alike.
fn prompts(seed: u64, vocabulary: usize, context: usize) -> Vec<Vec<u32>> {
    let token = |draw: u64| random(seed, draw, vocabulary as u64) as u32;
    let longest = (context.saturating_sub(TOKENS + 8)).min(600);
    (0..PROMPTS as u64)
        .map(|prompt| {
            let own = 8 + longest as u64 * (prompt + 1) / (2 * PROMPTS as u64);
            let shared = if prompt % 2 == 0 { longest as u64 / 3 } else { 0 };
            (0..shared)
                .chain(10_000 * (prompt + 1)..10_000 * (prompt + 1) + own)
                .map(token)
                .collect()
        })
        .collect()
}

fn spec(prompt: usize, sample: usize) -> SampleSpec {
    SampleSpec {
        sampling: Sampling {
            temperature: [0.0, 0.7, 1.0, 1.0][sample % SAMPLES],
            top_p: [1.0, 0.9, 1.0, 0.5][sample % SAMPLES],
            seed: (prompt * SAMPLES + sample) as u64,
        },
        max_tokens: TOKENS,
        watch: Box::new(NoWatch),
        readout: None,
        // Every bit of the state after the text is compared.
        last_hidden: true,
        ignores_end: true,
    }
}

fn outputs(
    engine: &mut Engine,
    mut events: Vec<Event>,
) -> Result<BTreeMap<(GroupId, usize), SampleOutput>, Failure> {
    while !engine.is_idle() {
        engine.step(&mut events);
    }
    let mut outputs = BTreeMap::new();
    for event in events {
        match event {
            Event::Finished { group, sample, output } => {
                outputs.insert((group, sample), output);
            }
            Event::Failed { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    Ok(outputs)
}

fn bits(output: &SampleOutput) -> (Vec<u32>, Vec<u32>) {
    let state = output.last_hidden.iter().flatten().map(|number| number.to_bits()).collect();
    (output.tokens.clone(), state)
}

fn compare_schedules(
    model: &Path,
    config: &EngineConfig,
    schedules: u64,
    seed: u64,
) -> Result<(), Failure> {
    let mut engine = Engine::load(model, config)?;
    let prompts = prompts(seed, engine.model().vocabulary, engine.context());
    let mut alone = BTreeMap::new();
    for (prompt, tokens) in prompts.iter().enumerate() {
        for sample in 0..SAMPLES {
            engine.flush_prefix_cache();
            let samples = vec![spec(prompt, sample)];
            let group =
                engine.submit(Group { prompt: tokens.clone(), samples, cache_salt: None })?;
            let outputs = outputs(&mut engine, Vec::new())?;
            alone.insert((prompt, sample), bits(&outputs[&(group, 0)]));
        }
    }
    let numerics = engine.numerics().to_owned();
    drop(engine);
    let (mut compared, mut different) = (0, 0);
    for schedule in 0..schedules {
        let pick = |draw: u64, below: u64| random(seed ^ (schedule + 1), draw, below);
        let varied = EngineConfig {
            max_sequences: Some([2, 5, 32][pick(0, 3) as usize]),
            prefill_chunk: Some([37, 100, 256, 2048][pick(1, 4) as usize]),
            ..config.clone()
        };
        let mut engine = Engine::load(model, &varied)?;
        let (mut events, mut submitted) = (Vec::new(), Vec::new());
        for arrival in 0..10 {
            let prompt = pick(10 + arrival, PROMPTS as u64) as usize;
            let of: Vec<usize> = (0..SAMPLES)
                .filter(|&sample| pick(100 + arrival * 8 + sample as u64, 3) > 0)
                .collect();
            if of.is_empty() {
                continue;
            }
            let samples = of.iter().map(|&sample| spec(prompt, sample)).collect();
            let group = Group { prompt: prompts[prompt].clone(), samples, cache_salt: None };
            submitted.push((engine.submit(group)?, prompt, of));
            for _ in 0..pick(200 + arrival, 12) {
                engine.step(&mut events);
            }
        }
        let outputs = outputs(&mut engine, events)?;
        for (group, prompt, of) in submitted {
            for (index, sample) in of.into_iter().enumerate() {
                compared += 1;
                different += u64::from(bits(&outputs[&(group, index)]) != alone[&(prompt, sample)]);
            }
        }
    }
    let equal = different == 0;
    println!(
        "{{\"schedules\":{schedules},\"samples\":{compared},\"different\":{different},\"equal\":{equal},\"numerics\":{numerics:?}}}"
    );
    Ok(())
}
