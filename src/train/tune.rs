//! What rejective fine-tuning and reinforcement learning share: the model that learns, and files beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use jury_engine::{Tokenizer, inspect};
use jury_eval::picture::{png, svg};
use jury_eval::whole_file;
use jury_grm::prompt::Template;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::{load_failed, model_failed, store};
use jury_trainer::error::TuneError;
use jury_trainer::model::{LoraConfig, Model, Tuning};
use jury_trainer::optimiser::OptimiserConfig;
use jury_trainer::plot::Curves;
use jury_worker::models::ModelRef;

use crate::args::{DEFAULT_MODEL, JudgeArgs, TuningArgs};

/// The model that learns, on disk.
pub struct Base {
    pub name: String,
    pub path: PathBuf,
    pub digest: String,
    pub tokenizer: Tokenizer,
}

// === impl Base ===

impl Base {
    /// Finds it, fetching it if need be; refuses one whose prompts nothing ends.
    pub fn find(judge: &JudgeArgs, tuning: &TuningArgs, meter: &Meter) -> Result<Self, Failed> {
        let name = tuning.base.as_ref().or(judge.model.as_ref());
        let name = name.cloned().unwrap_or_else(|| DEFAULT_MODEL.to_owned());
        let reference = ModelRef::parse(&name).map_err(model_failed)?;
        let model = tokio::task::block_in_place(|| {
            store(judge.cache.folder()).resolve(&reference, meter).map_err(model_failed)
        })?;
        let info = inspect(&model.path).map_err(load_failed)?;
        if !info.has_chat_template {
            let problem = anyhow!(
                "{name} has no chat template, so nothing says where a prompt ends and an answer begins; take an \
                 instruct model, or put a chat_template.jinja into its folder"
            );
            return Err(Failed::new(Exit::BadData, problem));
        }
        let tokenizer = Tokenizer::load(&model.path).map_err(load_failed)?;
        Ok(Self { name, path: model.path, digest: model.digest, tokenizer })
    }

    /// Loads its weights, with a fresh adapter.
    pub fn load(&self, tuning: &TuningArgs, seed: u64, meter: &Meter) -> Result<Model, Failed> {
        meter.stage(&format!("loading {} to tune it", self.name));
        let lora = Tuning::Lora(lora(tuning));
        tokio::task::block_in_place(|| Model::load(&self.path, lora, seed)).map_err(tune_failed)
    }
}

pub fn lora(tuning: &TuningArgs) -> LoraConfig {
    let targets = match tuning.targets.is_empty() {
        true => LoraConfig::all_matrices().targets,
        false => tuning.targets.clone(),
    };
    LoraConfig { rank: tuning.rank, alpha: tuning.alpha, targets }
}

pub fn optimiser(tuning: &TuningArgs, learning_rate: f64) -> OptimiserConfig {
    OptimiserConfig {
        learning_rate,
        warmup: tuning.warmup,
        cosine_steps: None,
        weight_decay: tuning.weight_decay,
        clip: tuning.clip,
    }
}

/// The template of prompts: from a file, or the built-in one.
pub fn template(judge: &JudgeArgs) -> Result<Template, Failed> {
    judge.template.as_deref().map_or_else(|| Ok(Template::builtin()), crate::coordinator::template)
}

pub fn tune_failed(error: TuneError) -> Failed {
    let exit = match &error {
        TuneError::Load(_) | TuneError::NoData(_) => Exit::BadData,
        TuneError::Setting { .. } | TuneError::Foreign { .. } => Exit::Usage,
        TuneError::Io { what: "read", .. } => Exit::NoInput,
        TuneError::Io { .. } => Exit::CannotWrite,
        TuneError::Diverged { .. } | TuneError::Prompt(_) => Exit::BadData,
        _ => Exit::Internal,
    };
    Failed::new(exit, error)
}

pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    let written = whole_file::write(path, bytes);
    written.with_context(|| path.display().to_string()).or_exit(Exit::CannotWrite)
}

/// Writes `name.svg` and `name.png`.
pub fn plot(folder: &Path, name: &str, curves: &Curves) -> Result<(), Failed> {
    let drawn = svg(curves).or_exit(Exit::Internal)?;
    write(&folder.join(format!("{name}.svg")), drawn.as_bytes())?;
    write(&folder.join(format!("{name}.png")), &png(curves).or_exit(Exit::Internal)?)
}
