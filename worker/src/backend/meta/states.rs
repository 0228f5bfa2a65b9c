//! A model's states at the end of trajectories, which a Meta RM's head is trained on.

use std::collections::HashMap;

use jury_engine::{Engine, Event, Group, LoadError, SampleSpec, Tokenizer};
use jury_grm::domain::{Failure, FailureKind};
use jury_grm::prompt::Message;
use jury_proto::convert::Trajectory;

use super::job::refused;
use super::tokenise;
use crate::backend::engine::EngineBackendConfig;

/// Reads trajectories as [`MetaBackend`](super::MetaBackend) does, but returns the states instead of scores. Computes
/// on the caller's thread.
pub struct StateReader {
    engine: Engine,
    tokenizer: Tokenizer,
    name: String,
    digest: String,
}

/// What was read for one trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadState {
    /// Index of the sample.
    pub index: u32,
    /// The model's last hidden state at the conversation's last token, or why there is none.
    pub outcome: Result<Vec<f32>, Failure>,
}

/// The model is lost with its card.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReaderLost(String);

// === impl StateReader ===

impl StateReader {
    /// Loads any model of the engine's families. Blocks for as long as that takes.
    ///
    /// # Errors
    /// A model that does not load.
    pub fn load(config: EngineBackendConfig) -> Result<Self, LoadError> {
        let engine = Engine::load(&config.path, &config.engine)?;
        let tokenizer = engine.tokenizer();
        Ok(Self { engine, tokenizer, name: config.name, digest: config.digest })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the model, hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The class of its arithmetic.
    pub fn numerics(&self) -> &str {
        self.engine.numerics()
    }

    /// Tokens computed so far.
    pub fn computed_tokens(&self) -> u64 {
        self.engine.counters().prefill_tokens
    }

    /// The states after the texts in `said`, each following `messages`, in their order. What the trajectories share is
    /// computed once.
    ///
    /// # Errors
    /// [`ReaderLost`]: nothing more can be read.
    pub fn read(
        &mut self,
        messages: &[Message],
        said: &[Trajectory],
    ) -> Result<Vec<ReadState>, ReaderLost> {
        let mut places = HashMap::new();
        let mut states = Vec::new();
        for conversation in tokenise::each(&self.tokenizer, messages, said) {
            let submitted = conversation.tokens.and_then(|prompt| {
                let samples = vec![SampleSpec::state_alone()];
                let group = Group { prompt, samples, cache_salt: None };
                self.engine.submit(group).map_err(|error| refused(&error))
            });
            let index = conversation.index;
            let outcome = match submitted {
                Ok(group) => {
                    places.insert(group, states.len());
                    failed("the engine gave no state")
                }
                Err(failure) => Err(failure),
            };
            states.push(ReadState { index, outcome });
        }
        let mut events = Vec::new();
        while !self.engine.is_idle() {
            self.engine.step(&mut events);
            for event in events.drain(..) {
                let (group, outcome) = match event {
                    Event::Finished { group, output, .. } => match output.last_hidden {
                        Some(state) => (group, Ok(state)),
                        None => continue,
                    },
                    Event::Failed { group, error, .. } => (group, failed(&error.to_string())),
                    Event::Prefilled { .. } | Event::Progress { .. } => continue,
                };
                if let Some(&place) = places.get(&group) {
                    states[place].outcome = outcome;
                }
            }
        }
        // Nothing that failed now says anything about what was to be read.
        self.engine.lost().map_or(Ok(states), |why| Err(ReaderLost(why)))
    }
}

fn failed(detail: &str) -> Result<Vec<f32>, Failure> {
    Err(Failure { kind: FailureKind::Worker, detail: detail.to_owned() })
}
