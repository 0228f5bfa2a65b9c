//! A model at work on all that it is asked, and what it could not read.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use jury_eval::answers::{AnswerFile, Answers, incomplete};
use jury_eval::asked::{Asked, Said};
use jury_proto::convert::Trajectory;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Answers to all that is asked, by item; `None` once `ended` says so. What the file at `path` has is not computed again.
pub async fn answer_all<T: Serialize + DeserializeOwned>(
    path: &Path,
    asked: &[Asked],
    ended: impl Fn() -> bool,
    meter: &Meter,
    mut answer: impl AsyncFnMut(&Asked) -> Result<Answers<T>, Failed>,
) -> Result<Option<HashMap<String, Answers<T>>>, Failed> {
    let name = || path.display().to_string();
    let mut file = AnswerFile::open(path).with_context(name).or_exit(Exit::CannotWrite)?;
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

/// Tells how many items have something without an answer, and why the first.
pub fn tell_problem<T>(name: &str, by_item: &HashMap<String, Answers<T>>, meter: &Meter) {
    if let Some((n, first)) = incomplete(by_item) {
        let (id, why) = (&first.item_id, first.problem.as_deref().unwrap_or_default());
        meter.print(&format!("jury: {name} could not read all of {n} items, as {id:?}: {why}"));
    }
}

/// As workers are asked.
pub fn trajectories(said: &[Said]) -> Vec<Trajectory> {
    let said = said.iter();
    said.map(|said| Trajectory { index: said.index, text: said.text.clone() }).collect()
}
