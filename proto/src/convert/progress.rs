//! Progress of a request.

use jury_grm::domain::Progress;

use crate::v1;

impl From<Progress> for v1::ScoreProgress {
    fn from(progress: Progress) -> Self {
        Self {
            phase: v1::ScorePhase::from(progress.phase).into(),
            samples_done: progress.samples_done,
            samples_asked: progress.samples_asked,
            generated_tokens: progress.generated_tokens,
        }
    }
}

impl From<v1::ScoreProgress> for Progress {
    fn from(progress: v1::ScoreProgress) -> Self {
        Self {
            phase: progress.phase().into(),
            samples_done: progress.samples_done,
            samples_asked: progress.samples_asked,
            generated_tokens: progress.generated_tokens,
        }
    }
}
