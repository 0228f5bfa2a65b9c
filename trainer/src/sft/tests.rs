//! On a tiny random model: it learns, an interrupted run equals an uninterrupted one, and an adapter can be read
//! back.

use std::path::PathBuf;

use super::*;
use crate::adapter;
use crate::model::{LoraConfig, Tuning};

fn model() -> Model {
    let lora = LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::all_matrices() };
    Model::load(&fixture(), Tuning::Lora(lora), 1).unwrap()
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/llama")
}

/// Ten sequences that all end in the same three tokens.
fn sequences() -> Vec<Sequence> {
    let sequence = |number: u32| {
        let prompt = (0..8).map(|at| 10 + (number * 31 + at * 7) % 200);
        Sequence { tokens: prompt.chain([42, 43, 44]).collect(), start: 8 }
    };
    (0..10).map(sequence).collect()
}

fn config() -> SftConfig {
    SftConfig {
        seed: 5,
        epochs: 4,
        batch: 4,
        checkpoint_every: 3,
        optimiser: OptimiserConfig {
            learning_rate: 0.02,
            warmup: 2,
            cosine_steps: None,
            weight_decay: 0.0,
            clip: 1.0,
        },
    }
}

#[test]
fn it_learns_and_a_run_that_was_ended_is_the_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let go = |model: &Model, name: &str, most: u64| {
        fine_tune(model, "llama", &sequences(), &config(), &path(name), |step| {
            if step.step % most == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap()
    };
    let whole = go(&model(), "whole", u64::MAX);
    assert!(whole.is_complete);
    assert_eq!(whole.history.len(), 10);
    let (first, last) = (whole.history[0].loss, whole.history[9].loss);
    assert!(last < 0.5 * first, "{first} to {last}");
    // Interrupted after step 4, which is not a multiple of 3; with a new process each time.
    assert!(!go(&model(), "parts", 4).is_complete);
    assert!(!go(&model(), "parts", 4).is_complete);
    let parts = go(&model(), "parts", u64::MAX);
    assert_eq!(parts, whole);
    let read = |name| std::fs::read(path(name)).unwrap();
    assert!(read("whole") == read("parts"));
}

#[test]
fn every_sequence_is_learned_from_once_an_epoch() {
    let config = config();
    let seen: Vec<usize> =
        (0..config.steps(10)).flat_map(|step| batch(10, &config, step)).collect();
    assert_eq!(seen.len(), 40);
    for epoch in seen.chunks(10) {
        let mut sorted = epoch.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    assert_ne!(seen[..10], seen[10..20]);
}

#[test]
fn a_checkpoint_of_other_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let go = |sequences: &[Sequence]| {
        fine_tune(&model(), "llama", sequences, &config(), &path, |_| ControlFlow::Break(()))
    };
    go(&sequences()).unwrap();
    let error = go(&sequences()[1..]).unwrap_err().to_string();
    assert!(error.contains("other data or settings"), "{error}");
    let check = |sequences: &[Sequence]| check_checkpoint("llama", sequences, &config(), &path);
    check(&sequences()).unwrap();
    assert_eq!(check(&sequences()[1..]).unwrap_err().to_string(), error, "and without a model");
    assert!(go(&[]).unwrap_err().to_string().contains("nothing to learn"));
    std::fs::write(&path, b"damaged").unwrap();
    assert!(go(&sequences()).unwrap_err().to_string().contains("no checkpoint"));
    assert!(check(&sequences()).unwrap_err().to_string().contains("no checkpoint"));
    std::fs::remove_file(&path).unwrap();
    check(&sequences()).unwrap();
}

#[test]
fn an_adapter_comes_back_from_its_folder_and_one_of_another_rank_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trained = model();
    let checkpoint = folder.path().join("checkpoint");
    fine_tune(&trained, "llama", &sequences(), &config(), &checkpoint, |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    adapter::write(&trained, "tiny", folder.path()).unwrap();
    let fresh = model();
    let sequence = &sequences()[0];
    assert_ne!(fresh.pass(sequence).unwrap(), trained.pass(sequence).unwrap());
    adapter::read(&fresh, folder.path()).unwrap();
    assert_eq!(fresh.pass(sequence).unwrap(), trained.pass(sequence).unwrap());
    let config = std::fs::read_to_string(folder.path().join(adapter::CONFIG)).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["r"], &config["peft_type"]), (&4.into(), &"LORA".into()));
    let other = Tuning::Lora(LoraConfig { rank: 2, alpha: 8.0, ..LoraConfig::all_matrices() });
    let other = Model::load(&fixture(), other, 1).unwrap();
    let error = adapter::read(&other, folder.path()).unwrap_err().to_string();
    assert!(error.contains("another model or rank"), "{error}");
    // With half the alpha, the same numbers are a different adapter.
    let other = Tuning::Lora(LoraConfig { rank: 4, alpha: 4.0, ..LoraConfig::all_matrices() });
    let other = Model::load(&fixture(), other, 1).unwrap();
    let error = adapter::read(&other, folder.path()).unwrap_err().to_string();
    assert!(error.contains("another alpha"), "{error}");
}

#[test]
fn a_checkpoint_is_written_before_its_step_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut steps = Vec::new();
    let dies = || {
        fine_tune(&model(), "llama", &sequences(), &config(), &path, |step| {
            assert!(step.step != 3, "on_step fails");
            ControlFlow::Continue(())
        })
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(dies)).is_err());
    fine_tune(&model(), "llama", &sequences(), &config(), &path, |step| {
        steps.push(step.step);
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(steps, [4]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_checkpoint_that_meets_a_full_disk_leaves_the_one_before_and_the_run_goes_on_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let go = |checkpoint: &Path| {
        fine_tune(&model(), "llama", &sequences(), &config(), checkpoint, |step| {
            if step.step == 5 && checkpoint == path.as_path() {
                // From here on everything that is written fails as on a full disk.
                let partial = folder.path().join("checkpoint.partial");
                std::os::unix::fs::symlink("/dev/full", partial).unwrap();
            }
            ControlFlow::Continue(())
        })
    };
    let whole = folder.path().join("whole");
    go(&whole).unwrap();
    let error = go(&path).unwrap_err();
    let TuneError::Write { path: named, source } = &error else { panic!("{error:?}") };
    assert_eq!((named, source.kind()), (&path, std::io::ErrorKind::StorageFull));
    // The file is from step 3, so once there is room again, the run resumes with step 4.
    let mut steps = Vec::new();
    fine_tune(&model(), "llama", &sequences(), &config(), &path, |step| {
        steps.push(step.step);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(steps.first(), Some(&4));
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&whole).unwrap());
}
