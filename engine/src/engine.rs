//! The engine: owns model, lanes and cache, and turns steps into events.

use std::path::Path;

use crate::{
    Counters, EngineConfig, Event, Group, GroupId, LoadError, ModelInfo, Prompt, PromptError,
    SubmitError,
};

/// A loaded model with the samples that it is generating. Owned by one thread; every method returns without waiting
/// for anything but its own arithmetic.
#[derive(Debug)]
pub struct Engine {
    info: ModelInfo,
    counters: Counters,
}

impl Engine {
    /// Loads a model file and makes its compute threads.
    ///
    /// # Errors
    /// A file that is missing, foreign, corrupt or of an unknown family, or a device that is not here.
    pub fn load(path: &Path, config: &EngineConfig) -> Result<Engine, LoadError> {
        let _ = config;
        Ok(Engine { info: inspect(path)?, counters: Counters::default() })
    }

    /// Facts about the model.
    pub fn model(&self) -> &ModelInfo {
        &self.info
    }

    /// The numerics class: engines with equal model file and equal class give equal bits.
    pub fn numerics(&self) -> &str {
        "cpu-v1"
    }

    /// Renders the model's chat template and the start of its answer, and tokenises them.
    ///
    /// # Errors
    /// An empty prompt, or a conversation that the template refuses.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        let _ = prompt;
        Err(PromptError::Empty)
    }

    /// Number of tokens of a piece of untrusted text, alone.
    pub fn count_tokens(&self, untrusted_text: &str) -> usize {
        untrusted_text.len()
    }

    /// Queues a group. Its samples join the batch as lanes get free.
    ///
    /// # Errors
    /// A group that can never run: too long, too large, or with meaningless settings.
    pub fn submit(&mut self, group: Group) -> Result<GroupId, SubmitError> {
        let _ = group;
        Ok(GroupId(0))
    }

    /// Ends a sample; its lane is free at the next step, which reports it as `Finished` with `Cancelled`.
    /// Unknown and finished samples are ignored.
    pub fn cancel(&mut self, group: GroupId, sample: usize) {
        let _ = (group, sample);
    }

    /// Ends all samples of a group.
    pub fn cancel_group(&mut self, group: GroupId) {
        let _ = group;
    }

    /// Computes one chunk of a waiting prompt and one token of every decoding sample, and appends what happened.
    pub fn step(&mut self, events: &mut Vec<Event>) {
        let _ = events;
    }

    /// True when nothing waits and nothing decodes: `step` would do nothing.
    pub fn is_idle(&self) -> bool {
        true
    }

    /// What the engine has done since it was loaded.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

/// Reads a model file's facts without loading its weights.
///
/// # Errors
/// As [`Engine::load`].
pub fn inspect(path: &Path) -> Result<ModelInfo, LoadError> {
    Err(LoadError::NotGguf { path: path.to_owned(), why: "not written yet".to_owned() })
}
