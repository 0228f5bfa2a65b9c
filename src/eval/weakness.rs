//! `jury eval report`: where a judge is wrong or a model under test loses, from the samples of an evaluation.

use std::path::Path;

use anyhow::{Context, anyhow};
use jury_client::batch::read_items;
use jury_eval::trajectories::{TrajectoryError, read};
use jury_eval::weakness::{Least, Subject, markdown, weakness};
use jury_terminal::exit::{Exit, Failed, OrExit};

use super::files::{Folder, write};
use crate::args::WeaknessArgs;

pub fn run(args: &WeaknessArgs) -> Result<Exit, Failed> {
    let folder = Folder::at(&args.folder);
    let items = read_items(&folder.items_path())
        .with_context(|| folder.items_path().display().to_string())
        .or_exit(Exit::NoInput)?;
    let samples = folder.samples_path();
    let trajectories = read(&samples).map_err(|error| unreadable(&samples, error))?;
    let least = Least { samples: args.min_samples, queries: args.min_queries };
    let subject = args.response.map_or(Subject::Judge, Subject::Response);
    let found = weakness(&items, &trajectories, subject, least);
    if found.n_samples == 0 && args.response.is_some() {
        let problem = "no item was judged with a response of this index and another one";
        return Err(Failed::new(Exit::BadData, anyhow!("--response: {problem}")));
    }
    let text = match args.json {
        true => serde_json::to_string_pretty(&found).or_exit(Exit::Internal)? + "\n",
        false => markdown(&found),
    };
    match &args.out {
        Some(path) => write(path, text.as_bytes())?,
        None => crate::score::print(&text)?,
    }
    Ok(Exit::Done)
}

fn unreadable(path: &Path, error: TrajectoryError) -> Failed {
    let exit = match &error {
        TrajectoryError::Io(_) => Exit::NoInput,
        _ => Exit::BadData,
    };
    let name = path.display();
    let hint = "is this the folder of an evaluation that has written its report?";
    Failed::new(exit, anyhow::Error::from(error).context(format!("{name}; {hint}")))
}
