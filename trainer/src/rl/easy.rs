//! Which tasks the start model already solves (paper, section 3.3): they teach nothing.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Environment, Sampler, digest, draw};
use crate::durable::replace;
use crate::error::TuneError;

/// Results for the tasks tried so far, in order; the file can be continued where it stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Easy {
    /// Digest of the tasks and the start model.
    run: String,
    /// By task.
    pub is_easy: Vec<bool>,
}

// === impl Easy ===

impl Easy {
    /// Reads the results at `path` for these tasks and this `start`, a text that differs if the start model does.
    /// Empty if the file is for others or does not exist.
    pub fn read(path: &Path, tasks: &impl Environment, start: &str) -> Easy {
        let run = digest(tasks, start);
        let read: Option<Easy> =
            std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known = read.filter(|known| known.run == run);
        known.unwrap_or(Easy { run, is_easy: Vec::new() })
    }

    /// Whether every task was tried.
    pub fn is_complete(&self, tasks: &impl Environment) -> bool {
        self.is_easy.len() >= tasks.n_tasks()
    }

    /// Tries the next task, which is easy if all of `n` samples are right. The sampler must have the start model's
    /// weights. Stores the results at `path`.
    ///
    /// # Errors
    /// As for drawing and writing.
    pub fn try_next(
        &mut self,
        sampler: &mut impl Sampler,
        tasks: &impl Environment,
        (n, seed): (usize, u64),
        path: &Path,
    ) -> Result<(), TuneError> {
        let task = self.is_easy.len();
        let drawn = draw(sampler, tasks, &[task], Some(n), seed, u64::MAX)?;
        self.is_easy.push(drawn.iter().flatten().all(|(_, reward)| reward.value > 0.0));
        replace(path, serde_json::to_string(self).unwrap_or_default().as_bytes())
    }
}
