//! What happens to the samples of a group besides drawing them: a head scores each one, and states are kept or dropped.

use std::sync::Arc;

use jury_engine::head::Head;
use jury_grm::domain::Sample;
use jury_proto::convert::SampleGroup;
use jury_proto::{ErrorCode, JuryError};

use crate::heads::Heads;

/// The head that ranks the samples of a group, if any, and whether the samples include their states.
#[derive(Debug)]
pub(super) struct Ranking {
    head: Option<Arc<Head>>,
    keeps_states: bool,
}

// === impl Ranking ===

impl Ranking {
    /// Finds the head that a group names, and makes the group request the states that the head reads.
    ///
    /// # Errors
    /// `WrongModel` if this worker has no such head, or if the head reads another model's states than the group's: all
    /// heads are for the worker's own model, `own_digest`.
    pub(super) fn of(
        group: &mut SampleGroup,
        heads: &Heads,
        own_digest: &str,
    ) -> Result<Self, JuryError> {
        let keeps_states = group.hidden_states;
        let Some(digest) = &group.head_digest else {
            return Ok(Self { head: None, keeps_states });
        };
        let head = heads.get(digest).ok_or_else(|| {
            let message = format!("this worker has no head {digest}");
            JuryError::new(ErrorCode::WrongModel, message)
        })?;
        if group.model_digest != own_digest {
            let message = format!(
                "head {digest} reads the states of model {own_digest}, the group is drawn by another ({})",
                group.model_digest
            );
            return Err(JuryError::new(ErrorCode::WrongModel, message));
        }
        group.hidden_states = true;
        Ok(Self { head: Some(head), keeps_states })
    }

    /// Scores a sample that has ended. A sample without a state, or with a state that gives no number, gets no score.
    pub(super) fn apply(&self, sample: &mut Sample) {
        if let (Some(head), Some(state)) = (&self.head, &sample.hidden_state) {
            match head.score(state) {
                Ok(score) => sample.meta_score = Some(score),
                Err(error) => {
                    let (index, name) = (sample.spec.index, &head.card().name);
                    tracing::warn!(index, head = name, %error, "sample not ranked");
                }
            }
        }
        if !self.keeps_states {
            sample.hidden_state = None;
        }
    }
}
