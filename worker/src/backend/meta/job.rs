//! One call in the model's thread: from its trajectories to the answer.

use std::collections::HashMap;
use std::sync::Arc;

use jury_engine::{Engine, Group, GroupId, SampleError, SampleOutput, SampleSpec, SubmitError};
use jury_grm::domain::{Failure, FailureKind};
use jury_proto::convert::Ranked;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::scorer::Scorer;
use super::tokenise::Conversation;
use crate::backend::occupancy::Seats;

/// The trajectories of one call.
#[derive(Debug)]
pub(super) struct Job {
    conversations: Vec<Conversation>,
    /// The salt of all trajectories.
    cache_salt: Option<Arc<str>>,
    /// When the caller stops waiting.
    deadline: Option<Instant>,
    /// One seat per trajectory without an outcome.
    seats: Seats,
    reply: oneshot::Sender<Vec<Ranked>>,
}

/// A call whose trajectories the engine has.
#[derive(Debug)]
pub(super) struct Ranking {
    /// In the order of the call; `None` while the engine computes the outcome.
    outcomes: Vec<(u32, Option<Result<f64, Failure>>)>,
    /// Positions of the trajectories without an outcome.
    pending: HashMap<GroupId, usize>,
    deadline: Option<Instant>,
    seats: Seats,
    reply: oneshot::Sender<Vec<Ranked>>,
}

// === impl Job ===

impl Job {
    pub(super) fn new(
        conversations: Vec<Conversation>,
        cache_salt: Option<Arc<str>>,
        deadline: Option<Instant>,
        seats: Seats,
        reply: oneshot::Sender<Vec<Ranked>>,
    ) -> Self {
        Self { conversations, cache_salt, deadline, seats, reply }
    }
}

// === impl Ranking ===

impl Ranking {
    /// Submits every trajectory that can be ranked to the engine.
    pub(super) fn begin(job: Job, engine: &mut Engine) -> Self {
        let Job { conversations, cache_salt, deadline, mut seats, reply } = job;
        seats.begin();
        let (mut outcomes, mut pending) = (Vec::new(), HashMap::new());
        for (place, Conversation { index, tokens }) in conversations.into_iter().enumerate() {
            let submitted = tokens.and_then(|prompt| {
                let samples = vec![SampleSpec::state_alone()];
                let group = Group { prompt, samples, cache_salt: cache_salt.clone() };
                engine.submit(group).map_err(|error| refused(&error))
            });
            let outcome = match submitted {
                Ok(group) => {
                    pending.insert(group, place);
                    None
                }
                Err(failure) => Some(Err(failure)),
            };
            outcomes.push((index, outcome));
        }
        seats.keep(pending.len());
        Self { outcomes, pending, deadline, seats, reply }
    }

    /// Groups that the engine has.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.pending.keys().copied()
    }

    /// True when the caller no longer waits for the answer.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// True when every trajectory has an outcome.
    pub(super) fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }

    /// Records the score of a trajectory whose state has been computed.
    pub(super) fn finish(&mut self, group: GroupId, output: &SampleOutput, scorer: &Scorer) {
        let score = match &output.last_hidden {
            Some(state) => scorer.score(state).map_err(|error| error.to_string()),
            None => Err("the engine gave no state".to_owned()),
        };
        let failed = |detail| Failure { kind: FailureKind::Worker, detail };
        self.settle(group, score.map_err(failed));
    }

    /// Records that the engine could not compute a trajectory.
    pub(super) fn fail(&mut self, group: GroupId, error: &SampleError) {
        let (kind, detail) = (FailureKind::Worker, error.to_string());
        self.settle(group, Err(Failure { kind, detail }));
    }

    /// Sends the outcomes that there are; the others have run out of time.
    pub(super) fn answer(self) {
        let missing = || Failure {
            kind: FailureKind::TimedOut,
            detail: "the call's time left was over before this trajectory was ranked".to_owned(),
        };
        let ranked = self.outcomes.into_iter().map(|(index, outcome)| Ranked {
            index,
            outcome: outcome.unwrap_or_else(|| Err(missing())),
            neutralised: false,
        });
        let ranked = ranked.collect();
        // Before the answer, so that a caller that has it finds the load without it.
        drop(self.seats);
        // If the caller is gone, nobody needs the answer.
        drop(self.reply.send(ranked));
    }

    fn settle(&mut self, group: GroupId, outcome: Result<f64, Failure>) {
        if let Some(place) = self.pending.remove(&group) {
            self.outcomes[place].1 = Some(outcome);
            self.seats.keep(self.pending.len());
        }
    }
}

/// Why the engine rejects a trajectory.
pub(super) fn refused(error: &SubmitError) -> Failure {
    let (kind, detail) = match error {
        SubmitError::TooLong { prompt_tokens, context, over_by } => (
            FailureKind::TooLong,
            format!(
                "prompt and trajectory have {prompt_tokens} tokens, {over_by} over the Meta RM's context of {context}"
            ),
        ),
        SubmitError::TooLarge { .. } => (FailureKind::TooLarge, error.to_string()),
        other => (FailureKind::Worker, other.to_string()),
    };
    Failure { kind, detail }
}
