//! All trained weights, as a folder that transformers and Jury can load: a copy of the base's folder with other
//! numbers.
//!
//! GGUF files are not supported: they have no tokenizer that transformers reads, and their quantised weights are too
//! coarse for the small steps in the checkpoint's floats.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jury_engine::merge::{Merged, replace};

use crate::error::TuneError;
use crate::model::{Model, Parameter, Tuning};

/// Writes a model's weights into `folder`, together with the other files of `base`, the folder that it was loaded
/// from. An existing `folder` is replaced once the new one is complete.
///
/// # Errors
/// [`TuneError::Setting`] for a model with only an adapter trained, [`TuneError::Folder`], [`TuneError::Write`].
pub fn write(
    model: &Model,
    base: &Path,
    folder: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Merged, TuneError> {
    let Tuning::Full = model.tuning() else {
        return Err(TuneError::setting("weights", "an adapter was trained, write that"));
    };
    let weights = model.parameters().iter().map(|parameter| stored(model, parameter));
    let weights = weights.collect::<Result<HashMap<_, _>, _>>()?;
    let partial = partial(folder);
    let failed = |source| TuneError::write(folder, source);
    remove(&partial).map_err(failed)?;
    let merged = replace(base, &weights, &partial, progress)?;
    remove(folder).map_err(failed)?;
    std::fs::rename(&partial, folder).map_err(failed)?;
    let name = merged.weights.file_name().unwrap_or_default();
    Ok(Merged { weights: folder.join(name), ..merged })
}

/// A parameter in the form that transformers stores.
fn stored(model: &Model, parameter: &Parameter) -> Result<(String, Vec<f32>), TuneError> {
    let mut values = parameter.var.flatten_all()?.to_vec1::<f32>()?;
    if parameter.name.ends_with("norm.weight") {
        let offset = model.stored_norm_offset();
        values.iter_mut().for_each(|value| *value -= offset);
    }
    Ok((parameter.name.clone(), values))
}

/// Next to the folder, so that it can be renamed.
fn partial(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;
    use crate::model::{LoraConfig, Sequence};

    fn fixture(family: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures").join(family)
    }

    /// Moves every weight by a different sine.
    fn stir(model: &Model) {
        for (number, parameter) in model.parameters().iter().enumerate() {
            let size = parameter.var.elem_count();
            let noise = (0..size).map(|at| ((at * 7 + number * 13) as f32 * 0.37).sin() * 0.05);
            let noise: Vec<f32> = noise.collect();
            let (shape, device) = (parameter.var.shape(), parameter.var.device());
            let noise = Tensor::from_vec(noise, shape, device).unwrap();
            parameter.var.set(&(parameter.var.as_tensor() + noise).unwrap()).unwrap();
        }
    }

    #[test]
    fn what_was_learned_comes_back_from_its_folder_in_every_family() {
        for (family, most) in [
            ("llama", 0.0),
            ("qwen2", 1.0 / 256.0),
            ("qwen3", 1.0 / 256.0),
            ("gemma2", 1.0 / 256.0),
            ("gemma3_text", 1.0 / 256.0),
        ] {
            let outside = tempfile::tempdir().unwrap();
            let folder = outside.path().join("model");
            let model = Model::load(&fixture(family), Tuning::Full, 0).unwrap();
            stir(&model);
            // Anything left by an earlier run is replaced.
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("stale"), b"").unwrap();
            let mut told = 0;
            let written = write(&model, &fixture(family), &folder, &mut |_, of| told = of).unwrap();
            assert_eq!((written.changed, written.tensors), (model.parameters().len(), told));
            assert!(written.weights.is_file());
            for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
                let read = |from: &Path| std::fs::read(from.join(file)).unwrap();
                assert!(read(&folder) == read(&fixture(family)), "{family}: {file}");
            }
            assert!(!folder.join("stale").exists() && !partial(&folder).exists());
            let read = Model::load(&folder, Tuning::Full, 0).unwrap();
            for (was, is) in model.parameters().iter().zip(read.parameters()) {
                assert_eq!(was.name, is.name);
                let floats = |of: &Parameter| -> Vec<f32> {
                    of.var.flatten_all().unwrap().to_vec1().unwrap()
                };
                let offset = if was.name.ends_with("norm.weight") {
                    model.stored_norm_offset()
                } else {
                    0.0
                };
                for (was, is) in floats(was).into_iter().zip(floats(is)) {
                    // Half a step of bf16 if the base uses it, plus what adding 1 loses for Gemma's norms.
                    let bound = most * (was - offset).abs() + 2.5e-7 * offset;
                    assert!((was - is).abs() <= bound, "{family}: {was} {is}");
                }
            }
            let sequence = Sequence { tokens: (10..40).collect(), start: 20 };
            let base = Model::load(&fixture(family), Tuning::Full, 0).unwrap();
            let passed = |model: &Model| model.pass(&sequence).unwrap().log_probs;
            let apart = |other: &Model| {
                let pairs = passed(&model).into_iter().zip(passed(other));
                pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
            };
            assert!(apart(&read) < 0.25 * apart(&base), "{family}");
        }
    }

    #[test]
    fn weights_of_another_model_and_adapters_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("model");
        // It has biases, and a separate head.
        let model = Model::load(&fixture("qwen2"), Tuning::Full, 0).unwrap();
        let error = write(&model, &fixture("llama"), &folder, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("elements, the trained one"), "{error}");
        assert!(!folder.exists());
        let lora = Tuning::Lora(LoraConfig::all_matrices());
        let adapted = Model::load(&fixture("llama"), lora, 0).unwrap();
        let error = write(&adapted, &fixture("llama"), &folder, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("an adapter was trained"), "{error}");
    }
}
