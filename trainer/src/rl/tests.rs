//! A toy policy whose optimum is known, on the real engine: the tiny random model is rewarded for even tokens.

use std::path::PathBuf;

use jury_engine::{Engine, EngineConfig, NoWatch};

use super::*;
use crate::model::{LoraConfig, Tuning};

/// Two prompts. Every member draws one token, and an even one is right. The best policy has reward 1.
struct EvenTokens {
    prompts: [Vec<u32>; 2],
    group: usize,
}

impl Environment for EvenTokens {
    fn n_tasks(&self) -> usize {
        self.prompts.len()
    }

    fn prompts(&self, task: usize) -> Vec<&[u32]> {
        vec![&self.prompts[task]; self.group]
    }

    fn watch(&self, _: usize, _: usize) -> Box<dyn jury_engine::Watch> {
        Box::new(NoWatch)
    }

    fn reward(&self, _: usize, _: usize, drawn: &Drawn) -> Reward {
        let is_right = drawn.tokens.first().is_some_and(|token| token % 2 == 0);
        Reward { value: if is_right { 1.0 } else { -1.0 }, is_readable: true }
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/llama")
}

fn model() -> Model {
    let lora = LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::all_matrices() };
    Model::load(&fixture(), Tuning::Lora(lora), 1).unwrap()
}

fn sampler() -> EngineSampler {
    let config = EngineConfig { threads: Some(1), ..EngineConfig::default() };
    // A high temperature, because the random model is almost certain of its tokens.
    EngineSampler::new(Engine::load(&fixture(), &config).unwrap(), 4.0, 1)
}

fn tasks() -> EvenTokens {
    EvenTokens { prompts: [vec![10, 20, 30, 40], vec![7, 90, 120, 33]], group: 8 }
}

fn config(steps: u64, beta: f64) -> RlConfig {
    RlConfig {
        seed: 3,
        steps,
        groups: 2,
        beta,
        evaluate_every: 10,
        checkpoint_every: 3,
        optimiser: OptimiserConfig {
            learning_rate: 0.01,
            warmup: 0,
            cosine_steps: None,
            weight_decay: 0.0,
            clip: 1.0,
        },
    }
}

fn go(folder: &Path, config: &RlConfig, stop_every: u64) -> RlRun {
    go_with(folder, config, |step| match step % stop_every {
        0 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

fn go_with(
    folder: &Path,
    config: &RlConfig,
    mut at_step: impl FnMut(u64) -> ControlFlow<()>,
) -> RlRun {
    let places = Places {
        checkpoint: &folder.join("checkpoint"),
        best: &folder.join("best"),
        base: "tiny",
        start: "seed 1",
    };
    reinforce(&model(), &mut sampler(), &tasks(), &tasks(), config, places, |so_far| {
        at_step(so_far.history[so_far.history.len() - 1].step)
    })
    .unwrap()
}

#[test]
fn a_policy_whose_optimum_is_known_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = go(folder.path(), &config(60, 0.0), u64::MAX);
    let (start, end) = (&run.held_out[0], &run.held_out[run.held_out.len() - 1]);
    assert!(start.correct < 0.8, "{start:?}");
    assert!(end.correct > 0.95, "{end:?}: {:?}", run.history.last());
    assert!(folder.path().join("best").join(adapter::WEIGHTS).exists());
    let config = std::fs::read(folder.path().join("best").join(adapter::CONFIG)).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["base_model_name_or_path"], "tiny");
}

#[test]
fn kl_holds_the_policy_near_its_start() {
    let drift = |beta| {
        let folder = tempfile::tempdir().unwrap();
        let run = go(folder.path(), &config(20, beta), u64::MAX);
        let kls = run.history.iter().filter_map(|step| step.kl);
        kls.fold(0.0, f64::max)
    };
    let (free, held) = (drift(0.0), drift(5.0));
    assert!(held < free, "{held} with, {free} without");
}

#[test]
fn a_run_that_was_ended_is_the_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    std::fs::create_dir_all(&whole).unwrap();
    std::fs::create_dir_all(&parts).unwrap();
    let config = config(10, 0.1);
    let run = go(&whole, &config, u64::MAX);
    for _ in 0..2 {
        assert!(!go(&parts, &config, 4).is_complete);
    }
    assert_eq!(go(&parts, &config, u64::MAX), run);
    for file in ["checkpoint", "best/adapter_model.safetensors"] {
        assert!(
            std::fs::read(whole.join(file)).unwrap() == std::fs::read(parts.join(file)).unwrap()
        );
    }
}

/// What was drawn and learned since the last checkpoint is lost, and is repeated.
#[test]
fn a_run_that_died_between_checkpoints_is_the_one_that_did_not() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    std::fs::create_dir_all(&whole).unwrap();
    std::fs::create_dir_all(&killed).unwrap();
    let config = config(10, 0.1);
    let run = go(&whole, &config, u64::MAX);
    for dies_at in [2, 5, 9] {
        let dies = || {
            go_with(&killed, &config, |step| {
                assert!(step != dies_at, "killed");
                ControlFlow::Continue(())
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(dies)).is_err());
    }
    assert_eq!(go(&killed, &config, u64::MAX), run);
    for file in ["checkpoint", "best/adapter_model.safetensors"] {
        assert!(
            std::fs::read(whole.join(file)).unwrap() == std::fs::read(killed.join(file)).unwrap()
        );
    }
}

#[test]
fn advantages_are_of_mean_0_and_spread_1_and_there_are_none_without_spread() {
    assert_eq!(advantages(&[1.0, 1.0, 1.0, 1.0]), None);
    assert_eq!(advantages(&[-1.0, -1.0]), None);
    assert_eq!(advantages(&[1.0, -1.0, 1.0, -1.0]).unwrap(), [1.0, -1.0, 1.0, -1.0]);
    let one_right = advantages(&[1.0, -1.0, -1.0, -1.0]).unwrap();
    assert!((one_right[0] - 3.0_f64.sqrt()).abs() < 1e-12);
    assert!((one_right[1] + 1.0 / 3.0_f64.sqrt()).abs() < 1e-12);
}

#[test]
fn k3_is_0_where_nothing_changed_and_never_below() {
    assert_eq!(k3(-1.5, -1.5), 0.0);
    for difference in [-3.0, -0.1, 0.2, 2.0] {
        assert!(k3(-2.0, -2.0 + difference) > 0.0);
    }
}

/// The end of a text was drawn as well. Without the end token, a policy that ends before its scores would be trained
/// to write everything that it wrote less often, but to end just as often as before.
#[test]
fn the_token_that_ended_a_text_is_learned_from_and_is_no_text() {
    // Any structural token ends a text: the fixture's chat tokens, and its unused ones.
    let is_end = |token: &u32| *token <= 2 || *token >= 266;
    let config = EngineConfig { threads: Some(1), ..EngineConfig::default() };
    let engine = Engine::load(&fixture(), &config).unwrap();
    let mut sampler = EngineSampler::new(engine, 4.0, 6);
    sampler.take_weights(&model()).unwrap();
    let prompt = tasks().prompts[0].clone();
    let request = |seed| DrawRequest { prompt: prompt.clone(), seed, watch: Box::new(NoWatch) };
    let drawn = sampler.draw((0..64).map(request).collect()).unwrap();
    let mut n_ended = 0;
    for Drawn { tokens, finish, text } in &drawn {
        let (last, before) = tokens.split_last().unwrap();
        let ended = *finish == jury_engine::Finish::EndOfText;
        n_ended += usize::from(ended);
        assert_eq!(is_end(last), ended, "{tokens:?}");
        assert!(!before.iter().any(is_end) && !text.contains("<|"), "{text}");
        assert!(ended || tokens.len() == 6, "{tokens:?}");
    }
    assert!((4..60).contains(&n_ended), "{n_ended}");
}

/// A text that ended at once has its own gradient, and the KL uses its one token.
#[test]
fn an_empty_text_that_the_model_ended_is_learned_from() {
    let (model, tasks) = (model(), tasks());
    let reference = model.values().unwrap();
    let learned = |tokens: Vec<u32>| {
        let drawn = |tokens: Vec<u32>, value| {
            let finish = jury_engine::Finish::EndOfText;
            (Drawn { tokens, text: String::new(), finish }, Reward { value, is_readable: true })
        };
        let groups = [vec![drawn(tokens, -1.0), drawn(vec![9, 2], 1.0)]];
        let prompts = [vec![&tasks.prompts[0][..]; 2]];
        grpo::learn(&model, &reference, &prompts, &groups, 0.1, 0).unwrap()
    };
    let (ended, nothing) = (learned(vec![2]), learned(Vec::new()));
    assert_eq!((ended.n_sequences, nothing.n_sequences), (2, 1));
    assert_eq!((ended.told.length, nothing.told.length), (1.5, 1.0));
}

/// Counts the draws; the first `n_right` texts are right, later ones wrong.
struct Counting {
    seeds: Vec<u64>,
    n_right: usize,
}

impl Sampler for Counting {
    fn take_weights(&mut self, _: &Model) -> Result<(), TuneError> {
        Ok(())
    }

    fn draw(&mut self, requests: Vec<DrawRequest>) -> Result<Vec<Drawn>, TuneError> {
        let drawn = requests.into_iter().map(|request| {
            let token = if self.seeds.len() < self.n_right { 2 } else { 3 };
            self.seeds.push(request.seed);
            let finish = jury_engine::Finish::EndOfText;
            Drawn { tokens: vec![token], text: String::new(), finish }
        });
        Ok(drawn.collect())
    }
}

#[test]
fn what_is_too_easy_is_told_by_three_samples_of_a_group_of_two_as_well() {
    for n_right in 0..=3 {
        let mut sampler = Counting { seeds: Vec::new(), n_right };
        let tasks = EvenTokens { group: 2, ..tasks() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("easy.json");
        let mut easy = Easy::read(&path, &tasks, "start");
        easy.try_next(&mut sampler, &tasks, (3, 1), &path).unwrap();
        assert_eq!(easy.is_easy, [n_right == 3], "{n_right} of 3 are right");
        assert_eq!(Easy::read(&path, &tasks, "start"), easy, "what is known is kept");
        assert!(Easy::read(&path, &tasks, "another start").is_easy.is_empty());
        let seeds: std::collections::BTreeSet<u64> = sampler.seeds.iter().copied().collect();
        assert_eq!((sampler.seeds.len(), seeds.len()), (3, 3));
    }
}
