//! What all tests need: the model, prompts, and a way to drive an engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jury_engine::{
    Engine, EngineConfig, Event, Group, GroupId, Message, NoWatch, Prompt, Readout, ReadoutMode,
    Role, SampleOutput, SampleSpec, Sampling, Span,
};

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

pub const PROMPTS: [&str; 22] = [
    "What is the capital of France?",
    "Write a haiku about rain.",
    "Explain why the sky is blue to a child.",
    "List three prime numbers greater than 50.",
    "Translate 'good morning' into Spanish.",
    "What is 17 times 23?",
    "Who wrote Romeo and Juliet?",
    "Give me a recipe for pancakes with two eggs.",
    "Summarise the plot of Cinderella in two sentences.",
    "What does HTTP status 404 mean?",
    "fn main() { println!(\"hello\"); } What does this program do?",
    "Name an animal that lays eggs and gives milk.",
    "Is 1001 divisible by 7? Explain.",
    "Compose a polite refusal of an invitation to dinner.",
    "Which is heavier, a kilogram of iron or a kilogram of feathers?",
    "Describe the taste of a lemon.",
    "What are the primary colours?\n\nAnswer as a list.",
    "How many minutes are there in a week?",
    "Why do cats purr?",
    "Rate the answer 'Paris' to the question 'Capital of Italy?' from 1 to 10.",
    "Größe, naïve, 東京 and emoji 🙂: what do these words have in common?",
    "Tell me a joke about computers.",
];

pub fn model_path() -> PathBuf {
    match std::env::var_os("JURY_TEST_MODEL") {
        Some(path) => present(path.into(), "JURY_TEST_MODEL names it"),
        None => cached(FILE, "`make test` fetches it, or set JURY_TEST_MODEL"),
    }
}

/// A model in the user's cache folder; `remedy` tells how to get it there.
pub fn cached(file: &str, remedy: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .expect("a home folder");
    present(cache.join("jury").join("models").join(file), remedy)
}

fn present(path: PathBuf, remedy: &str) -> PathBuf {
    assert!(path.is_file(), "{} is missing: {remedy}", path.display());
    path
}

pub fn config(threads: usize) -> EngineConfig {
    EngineConfig {
        threads: Some(threads),
        kv_budget_bytes: Some(512 << 20),
        ..EngineConfig::default()
    }
}

pub fn load(config: &EngineConfig) -> Engine {
    load_file(&model_path(), config)
}

pub fn load_file(path: &Path, config: &EngineConfig) -> Engine {
    Engine::load(path, config).unwrap()
}

pub fn user(text: &str) -> Prompt {
    Prompt { messages: vec![Message { role: Role::User, spans: vec![Span::untrusted(text)] }] }
}

pub fn sample(seed: u64, temperature: f32, max_tokens: usize) -> SampleSpec {
    SampleSpec {
        sampling: Sampling { temperature, top_p: 0.95, seed },
        max_tokens,
        watch: Box::new(NoWatch),
        readout: None,
        last_hidden: false,
        ignores_end: false,
    }
}

/// Scores 1 to 10 for two responses.
pub fn scores(mode: ReadoutMode) -> Readout {
    Readout {
        opening: Arc::new(|_| "\n\nScores:\n\\boxed{".to_owned()),
        slots: 2,
        choices: (1..=10).map(|score| score.to_string()).collect(),
        separator: ", ".to_owned(),
        closing: "}".to_owned(),
        mode,
    }
}

/// Steps until idle; returns all events.
pub fn drive(engine: &mut Engine) -> Vec<Event> {
    let mut events = Vec::new();
    let mut steps = 0;
    while !engine.is_idle() {
        engine.step(&mut events);
        steps += 1;
        assert!(steps < 100_000, "the engine never gets idle");
    }
    events
}

/// Finished samples by group and index; panics if one failed.
pub fn outputs(events: Vec<Event>) -> BTreeMap<(GroupId, usize), SampleOutput> {
    let mut outputs = BTreeMap::new();
    for event in events {
        match event {
            Event::Finished { group, sample, output } => {
                assert!(outputs.insert((group, sample), output).is_none(), "finished twice");
            }
            Event::Failed { error, .. } => panic!("{error}"),
            Event::Prefilled { .. } | Event::Progress { .. } => {}
        }
    }
    outputs
}

/// Runs one group alone.
pub fn run(engine: &mut Engine, prompt: Vec<u32>, samples: Vec<SampleSpec>) -> Vec<SampleOutput> {
    engine.submit(Group { prompt, samples, cache_salt: None }).unwrap();
    outputs(drive(engine)).into_values().collect()
}
