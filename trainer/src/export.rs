//! Folders for other trainers: data in their format, the rule as their reward function, and a launch file with the
//! paper's numbers.
//!
//! A row is an item in one order. Over the items with equally many responses, the best response takes each position
//! in turn. A row contains its item and order as JSON. From these, `jury.outcome_reward` renders the same prompt, so
//! that it knows which scores in the answer are quoted from the item.

mod rows;
mod trainer;

use std::io::ErrorKind;
use std::path::Path;

use jury_grm::domain::Item;
use jury_grm::prompt::Template;

use self::rows::{Places, with_truth};
pub use self::trainer::Trainer;
use crate::chat;
use crate::durable;
use crate::error::TuneError;

/// Numbers of the launch file.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportConfig {
    /// The model to train, as the trainer finds it.
    pub model: String,
    /// Samples per group.
    pub group: u32,
    /// Weight of the KL in the loss.
    pub beta: f64,
    /// Longest prompt in tokens.
    pub max_prompt_tokens: usize,
    /// Longest critique in tokens.
    pub max_critique_tokens: u32,
    /// The trainer's seed.
    pub seed: u64,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows of data.
    pub rows: usize,
    /// Ids of items that cannot be trained on.
    pub unfit: Vec<String>,
}

/// The paper's number of steps, and groups per step.
const STEPS: usize = 900;
const GROUPS: usize = 128;

/// Writes the folder, which is created.
///
/// # Errors
/// [`TuneError::Setting`] for a model name that cannot be written into a launch file, [`TuneError::NoData`] for fewer
/// rows than the trainer takes, [`TuneError::Foreign`] for a folder with export files of other content,
/// [`TuneError::Write`].
pub fn export(
    trainer: Trainer,
    items: &[Item],
    config: &ExportConfig,
    folder: &Path,
) -> Result<Exported, TuneError> {
    if config.model.trim().is_empty() {
        return Err(TuneError::setting("--model", "name the model that is trained"));
    }
    if config.model.contains(['"', '\\', '$', '`', '\n']) {
        let why = "no quotes, backslashes, dollars or line ends, since a script quotes it";
        return Err(TuneError::setting("--model", why));
    }
    let template = Template::builtin();
    let mut exported = Exported::default();
    let mut data = String::new();
    let mut places = Places::default();
    for item in items {
        let Some((item, scale)) = with_truth(item) else {
            exported.unfit.push(item.id.clone());
            continue;
        };
        let order = &places.next_order(&item);
        let rendered = chat::prompt(&template, &item, order, scale)
            .map_err(|error| TuneError::setting("template", error.to_string()))?;
        let mut turns = chat::conversation(&rendered, "").messages;
        turns.pop();
        let json = serde_json::to_string(&item).unwrap_or_default();
        data += &trainer.row(&turns, &json, order).to_string();
        data.push('\n');
        exported.rows += 1;
    }
    if exported.rows == 0 {
        return Err(TuneError::NoData("no item says which response is best".to_owned()));
    }
    if exported.rows < trainer.fewest_rows() {
        let problem = format!(
            "{trainer} takes no step on fewer than {GROUPS} items with a best response, a batch of the paper; here are {}. \
             Give more, or export for TRL and lower BATCH in train.py",
            exported.rows
        );
        return Err(TuneError::NoData(problem));
    }
    let (name, launch) = trainer.launch();
    let launch = fill(launch, config, exported.rows);
    let files = [("data.jsonl", data), ("reward.py", trainer.reward().to_owned()), (name, launch)];
    refuse_others(folder, &files)?;
    std::fs::create_dir_all(folder).map_err(|source| TuneError::write(folder, source))?;
    for (name, text) in &files {
        durable::replace(&folder.join(name), text.as_bytes())?;
    }
    Ok(exported)
}

/// Rejects a folder whose files differ from what this export would write: they were edited, or belong to another
/// export.
fn refuse_others(folder: &Path, files: &[(&str, String)]) -> Result<(), TuneError> {
    for name in ["data.jsonl", "reward.py", "train.py", "train.sh"] {
        let path = folder.join(name);
        let now = files.iter().find(|(file, _)| *file == name).map(|(_, text)| text.as_bytes());
        match std::fs::read(&path) {
            Ok(there) if Some(&*there) == now => {}
            Ok(_) => {
                let why = "it is edited, or of an export with another trainer, other items or other numbers; name another \
                           folder with --out, or remove it";
                return Err(TuneError::foreign(&path, why));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(TuneError::read(&path, source)),
        }
    }
    Ok(())
}

fn fill(launch: &str, config: &ExportConfig, rows: usize) -> String {
    let episodes = (STEPS * GROUPS).div_ceil(rows.max(1));
    let tokens = config.max_critique_tokens as usize;
    launch
        .replace("@MODEL@", &config.model)
        .replace("@GROUP@", &config.group.to_string())
        .replace("@BETA@", &config.beta.to_string())
        .replace("@PROMPT_TOKENS@", &config.max_prompt_tokens.to_string())
        .replace("@TOKENS@", &tokens.to_string())
        .replace("@ALL_TOKENS@", &(tokens + config.max_prompt_tokens).to_string())
        .replace("@EPISODES@", &episodes.to_string())
        .replace("@SEED@", &config.seed.to_string())
}

#[cfg(test)]
mod tests;
