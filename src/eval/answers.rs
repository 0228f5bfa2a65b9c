//! The outputs of a model for all items, and what it could not process.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use jury_eval::answers::{AnswerFile, Answers, AnswersError, incomplete};
use jury_eval::asked::{Asked, Said};
use jury_proto::convert::Trajectory;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Answers for all of `asked`, by item; `None` if `ended` returns true. Answers in the file at `path` are not computed
/// again.
pub async fn answer_all<T: Serialize + DeserializeOwned>(
    path: &Path,
    asked: &[Asked],
    ended: impl Fn() -> bool,
    meter: &Meter,
    mut answer: impl AsyncFnMut(&Asked) -> Result<Answers<T>, Failed>,
) -> Result<Option<HashMap<String, Answers<T>>>, Failed> {
    let name = || path.display().to_string();
    let mut file = AnswerFile::open(path).map_err(|error| {
        let exit = match error {
            AnswersError::Io(_) => Exit::CannotWrite,
            AnswersError::InUse => Exit::Usage,
            AnswersError::NotAnAnswer { .. } => Exit::BadData,
        };
        Failed::new(exit, anyhow::Error::from(error).context(name()))
    })?;
    meter.items(Some(asked.len() as u64));
    for item in asked {
        if ended() {
            return Ok(None);
        }
        if !file.has(item) {
            let started = Instant::now();
            let mut answers = answer(item).await?;
            answers.ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            file.put(answers).with_context(name).or_exit(Exit::CannotWrite)?;
        }
        meter.item_done();
    }
    Ok(Some(file.into_answers()))
}

/// Reports how many items have missing answers, and why for the first.
pub fn tell_problem<T>(name: &str, by_item: &HashMap<String, Answers<T>>, meter: &Meter) {
    if let Some((n, first)) = incomplete(by_item) {
        let (id, why) = (&first.item_id, first.problem.as_deref().unwrap_or_default());
        meter.print(&format!(
            "jury: {name} could not process parts of {n} items, for example {id:?}: {why}"
        ));
    }
}

/// In the form that workers take.
pub fn trajectories(said: &[Said]) -> Vec<Trajectory> {
    let said = said.iter();
    said.map(|said| Trajectory { index: said.index, text: said.text.clone() }).collect()
}
