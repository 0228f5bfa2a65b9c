//! Code shared by rejective fine-tuning and reinforcement learning: the model to train, and its files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use jury_engine::{Tokenizer, inspect};
use jury_fabric::shutdown::Shutdown;
use jury_grm::domain::Item;
use jury_grm::prompt::Template;
use jury_terminal::exit::{Exit, Failed};
use jury_terminal::meter::Meter;
use jury_terminal::model::{load_failed, model_failed, store};
use jury_trainer::error::TuneError;
use jury_trainer::model::{LoraConfig, Model, Tuning};
use jury_trainer::optimiser::OptimiserConfig;
use jury_worker::models::ModelRef;

use super::merge::merge_failed;
use crate::args::{CacheArgs, DEFAULT_MODEL, TuningArgs};
use crate::eval::LeftOut;

/// The model to train, on disk.
pub struct Base {
    pub name: String,
    pub path: PathBuf,
    pub digest: String,
    pub tokenizer: Tokenizer,
    /// Context length in tokens.
    pub context: usize,
}

// === impl Base ===

impl Base {
    /// Finds the model, and downloads it if necessary; rejects one without a chat template.
    pub fn find(model: Option<&str>, cache: &CacheArgs, meter: &Meter) -> Result<Self, Failed> {
        let name = model.unwrap_or(DEFAULT_MODEL).to_owned();
        let reference = ModelRef::parse(&name).map_err(model_failed)?;
        let model = tokio::task::block_in_place(|| {
            store(cache.folder()).resolve(&reference, meter).map_err(model_failed)
        })?;
        let info = inspect(&model.path).map_err(load_failed)?;
        if !info.has_chat_template {
            let problem = anyhow!(
                "{name} has no chat template, which separates the prompt from the answer; use an instruct model, or put a \
                 chat_template.jinja into its folder"
            );
            return Err(Failed::new(Exit::BadData, problem));
        }
        let tokenizer = Tokenizer::load(&model.path).map_err(load_failed)?;
        Ok(Self {
            name,
            path: model.path,
            digest: model.digest,
            tokenizer,
            context: info.context_length,
        })
    }

    /// Loads its weights; an adapter is initialised.
    pub fn load(&self, tuning: Tuning, seed: u64, meter: &Meter) -> Result<Model, Failed> {
        meter.stage(&format!("loading {} to tune it", self.name));
        tokio::task::block_in_place(|| Model::load(&self.path, tuning, seed)).map_err(tune_failed)
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

/// The prompt template: from a file, or the built-in one.
pub fn template(file: Option<&Path>) -> Result<Template, Failed> {
    file.map_or_else(|| Ok(Template::builtin()), crate::coordinator::template)
}

/// The items that can be trained on; the others are reported.
pub fn learnable(all: Vec<Item>, left_out: &mut LeftOut, meter: &Meter) -> Vec<Item> {
    let (learnable, others) = jury_trainer::rft::learnable(all);
    for (why, ids) in others {
        left_out.tell(meter, "items", why, ids);
    }
    learnable
}

/// Ends a run after the step in which Ctrl-C was pressed.
pub fn go_on(signals: &Shutdown) -> ControlFlow<()> {
    match signals.drain.is_cancelled() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

pub fn interrupted(meter: &Meter, steps: usize) -> Exit {
    meter.print(&format!("jury: interrupted after step {steps}; repeat the command to continue"));
    Exit::Interrupted
}

pub fn tune_failed(error: TuneError) -> Failed {
    let exit = match error {
        TuneError::Load(error) => return load_failed(error),
        TuneError::Folder(error) => return merge_failed(error),
        TuneError::Setting { .. } | TuneError::Foreign { .. } | TuneError::Asked(_) => Exit::Usage,
        TuneError::Read { .. } => Exit::NoInput,
        TuneError::Write { .. } | TuneError::Samples { .. } => Exit::CannotWrite,
        TuneError::NoData(_) | TuneError::Diverged { .. } | TuneError::Prompt(_) => Exit::BadData,
        _ => Exit::Internal,
    };
    Failed::new(exit, error)
}
