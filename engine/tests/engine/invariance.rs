//! A sample's bits depend only on its prompt, settings and seed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jury_engine::{
    DeviceKind, EngineConfig, Group, Readout, ReadoutMode, SampleOutput, SampleSpec,
};

use crate::families::fixture;
use crate::support::{
    PROMPTS, config, drive, load, load_file, model_path, outputs, run, sample, scores, user,
};

/// Counter-based, so that a failing schedule can be repeated by its number.
fn random(schedule: u64, draw: u64, below: u64) -> u64 {
    let mut bits =
        schedule.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ draw.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 29;
    bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits >> 32) % below
}

/// Every probability of the read-out is compared, bit by bit.
fn fingerprint(output: &SampleOutput) -> (String, Vec<u64>) {
    let bits = output.readout.iter().flat_map(|readout| {
        readout.distributions.iter().flatten().map(|p| p.to_bits()).chain([readout.mass.to_bits()])
    });
    (output.text.clone(), bits.collect())
}

/// A model on a device, and prompts for it; the first half of them are longer than a page and have the same beginning.
pub struct Subject {
    name: &'static str,
    path: PathBuf,
    device: DeviceKind,
    prompts: Vec<Vec<u32>>,
    /// Free tokens of a sample: the minimum, and how many more are possible.
    lengths: (usize, usize),
    /// What the read-out begins with.
    opening: &'static str,
    /// In bytes.
    page: u64,
}

impl Subject {
    fn real() -> Subject {
        let engine = load(&config(1));
        let long = "A long conversation about many things, one after the other. ".repeat(9);
        let prompt = |index: usize| {
            let text = format!("{}{}", if index < 3 { &long } else { "" }, PROMPTS[index]);
            engine.encode(&user(&text)).unwrap()
        };
        let page = engine.model().kv_bytes_per_token * 64;
        let prompts = (0..PROMPT_COUNT).map(prompt).collect();
        Subject {
            name: "SmolLM2",
            path: model_path(),
            device: DeviceKind::Cpu,
            prompts,
            lengths: (3, 11),
            opening: "\n\nScores:\n\\boxed{",
            page,
        }
    }

    /// A fixture with a context of 128 tokens: its prompts leave room for the read-out.
    pub fn tiny(name: &'static str, device: DeviceKind) -> Subject {
        let path = fixture(name);
        let engine = load_file(&path, &EngineConfig { device, ..config(1) });
        let token = |draw: u64| random(99, draw, engine.model().vocabulary as u64) as u32;
        let prompt = |index: u64| -> Vec<u32> {
            let (shared, own) = if index < 3 { (66, 6) } else { (0, 5 + 9 * index) };
            (0..shared).chain(1_000 * index..1_000 * index + own).map(token).collect()
        };
        let page = engine.model().kv_bytes_per_token * 64;
        let prompts = (0..PROMPT_COUNT as u64).map(prompt).collect();
        Subject { name, path, device, prompts, lengths: (2, 7), opening: " {", page }
    }

    fn spec(&self, prompt: usize, index: u64) -> SampleSpec {
        let (least, more) = self.lengths;
        let length = least + (prompt + index as usize * 5) % more;
        let opening = self.opening;
        let readout = (!(prompt + index as usize).is_multiple_of(3)).then(|| Readout {
            opening: Arc::new(move |_| opening.to_owned()),
            ..scores(ReadoutMode::Sampled)
        });
        SampleSpec { readout, ..sample(prompt as u64 * 100 + index, 0.8, length) }
    }
}

const PROMPT_COUNT: usize = 6;
const SAMPLES: u64 = 4;

#[test]
fn random_schedules_give_the_bits_of_lonely_samples() {
    hold(&Subject::real());
}

#[test]
fn random_schedules_give_the_bits_of_lonely_samples_in_every_family() {
    for family in ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "deepseek_v2"] {
        hold(&Subject::tiny(family, DeviceKind::Cpu));
    }
}

pub fn hold(subject: &Subject) {
    let mut alone = BTreeMap::new();
    let device = subject.device;
    let whole = EngineConfig { device, prefill_chunk: Some(1_000), ..config(1) };
    let mut engine = load_file(&subject.path, &whole);
    assert!(engine.is_bitwise());
    for (prompt, tokens) in subject.prompts.iter().enumerate() {
        for index in 0..SAMPLES {
            engine.flush_prefix_cache();
            let spec = vec![subject.spec(prompt, index)];
            let output = run(&mut engine, tokens.clone(), spec).remove(0);
            alone.insert((prompt, index), fingerprint(&output));
        }
    }
    for schedule in 0..6 {
        let pick = |draw: u64, below: u64| random(schedule, draw, below);
        let config = EngineConfig {
            device,
            max_sequences: Some([1, 3, 7, 32][pick(0, 4) as usize]),
            prefill_chunk: Some([1, 5, 17, 64, 100, 512][schedule as usize]),
            kv_budget_bytes: Some(subject.page * [6, 9, 40][pick(1, 3) as usize]),
            ..config([1, 2, 3][pick(2, 3) as usize])
        };
        let mut engine = load_file(&subject.path, &config);
        let (mut events, mut submitted, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
        for arrival in 0..8 {
            let prompt = pick(10 + arrival, PROMPT_COUNT as u64) as usize;
            let indices: Vec<u64> =
                (0..SAMPLES).filter(|&index| pick(100 + arrival * 8 + index, 3) > 0).collect();
            if indices.is_empty() {
                continue;
            }
            let samples = indices.iter().map(|&index| subject.spec(prompt, index)).collect();
            let tokens = subject.prompts[prompt].clone();
            let group = engine.submit(Group { prompt: tokens, samples, cache_salt: None }).unwrap();
            submitted.push((group, prompt, indices));
            for _ in 0..pick(200 + arrival, 12) {
                engine.step(&mut events);
            }
            if pick(300 + arrival, 4) == 0 {
                engine.cancel(group, 0);
                cancelled.push((group, 0));
            }
        }
        events.extend(drive(&mut engine));
        let outputs = outputs(events);
        for (group, prompt, indices) in submitted {
            for (sample, index) in indices.into_iter().enumerate() {
                let output = &outputs[&(group, sample)];
                if cancelled.contains(&(group, sample))
                    && output.finish == jury_engine::Finish::Cancelled
                {
                    continue;
                }
                assert_eq!(
                    fingerprint(output),
                    alone[&(prompt, index)],
                    "{}: schedule {schedule}, prompt {prompt}, sample {index}",
                    subject.name
                );
            }
        }
    }
}

#[test]
fn logits_do_not_depend_on_chunks_threads_or_the_cache() {
    // Long enough for several threads to get blocks of rows.
    let text = format!("{} {}", "Some words that fill a page or two. ".repeat(50), PROMPTS[3]);
    let bits = |threads: usize, chunk: usize, warm: Option<usize>| -> Vec<u32> {
        let mut engine = load(&EngineConfig { prefill_chunk: Some(chunk), ..config(threads) });
        let prompt = engine.encode(&user(&text)).unwrap();
        if let Some(length) = warm {
            engine.logits_after(&prompt[..length]).unwrap();
        }
        let before = engine.counters().cached_tokens;
        let logits = engine.logits_after(&prompt).unwrap();
        assert_eq!(engine.counters().cached_tokens - before, warm.unwrap_or(0) as u64);
        logits.into_iter().map(f32::to_bits).collect()
    };
    let expected = bits(1, 10_000, None);
    for (threads, chunk, warm) in [
        (2, 1, None),
        (3, 7, Some(1)),
        (2, 33, Some(64)),
        (1, 64, Some(100)),
        (4, 200, Some(131)),
        (2, 300, Some(100)),
        (3, 10_000, None),
    ] {
        assert!(
            bits(threads, chunk, warm) == expected,
            "{threads} threads, chunks of {chunk}, {warm:?}"
        );
    }
}
