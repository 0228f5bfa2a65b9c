//! A toy policy whose optimum is known, on the real engine: the tiny random model is rewarded for even tokens.

use std::path::PathBuf;

use jury_engine::{Engine, EngineConfig, NoWatch};

use super::*;
use crate::model::{LoraConfig, Tuning};

/// Two prompts; every member draws one token, and an even one is right. The best policy has reward 1.
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
    // Hot, since the random model is all but sure of its tokens.
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
    let places = Places {
        checkpoint: &folder.join("checkpoint"),
        best: &folder.join("best"),
        base: "tiny",
        start: "seed 1",
    };
    reinforce(&model(), &mut sampler(), &tasks(), &tasks(), config, places, |step, _| {
        if step.step % stop_every == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
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

#[test]
fn what_the_start_gets_right_each_time_is_known() {
    let mut sampler = sampler();
    sampler.take_weights(&model()).unwrap();
    let mut easy = || -> Vec<bool> {
        let tasks = tasks();
        (0..2).map(|task| is_too_easy(&mut sampler, &tasks, task, 3, 1).unwrap()).collect()
    };
    assert_eq!(easy(), easy());
}

/// Counts what is asked of it; every text is right.
#[derive(Default)]
struct Counting(Vec<u64>);

impl Sampler for Counting {
    fn take_weights(&mut self, _: &Model) -> Result<(), TuneError> {
        Ok(())
    }

    fn draw(&mut self, requests: Vec<DrawRequest>) -> Result<Vec<Drawn>, TuneError> {
        self.0.extend(requests.iter().map(|request| request.seed));
        let right =
            Drawn { tokens: vec![2], text: String::new(), finish: jury_engine::Finish::EndOfText };
        Ok(vec![right; requests.len()])
    }
}

#[test]
fn what_is_too_easy_is_told_by_three_samples_of_a_group_of_two_as_well() {
    let mut sampler = Counting::default();
    assert!(is_too_easy(&mut sampler, &EvenTokens { group: 2, ..tasks() }, 0, 3, 1).unwrap());
    let seeds: std::collections::BTreeSet<u64> = sampler.0.iter().copied().collect();
    assert_eq!((sampler.0.len(), seeds.len()), (3, 3));
}
