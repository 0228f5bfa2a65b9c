//! The engine's error types, one for each thing a caller can ask.

use std::path::PathBuf;

/// A model file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not a model file at all.
    #[error("{path} is not a GGUF file: {why}")]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The file ends before everything that its header lists, as after a download that was cut off.
    #[error(
        "{path} is truncated: it needs at least {needed_bytes} bytes, it has {file_bytes} (download it again)"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Up to the furthest end of a tensor, or, where the header itself is cut off, of what was being read.
        needed_bytes: u64,
        /// Its size.
        file_bytes: u64,
    },
    /// The file is the first part of a split one, and others are not beside it.
    #[error(
        "{path} is part 1 of {count}, and {} missing: put every part beside it",
        listed(missing)
    )]
    MissingParts {
        /// The first part.
        path: PathBuf,
        /// Number of all parts.
        count: usize,
        /// Where the others ought to be; not empty.
        missing: Vec<PathBuf>,
    },
    /// The file contradicts itself.
    #[error("{path} is corrupt: {why}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What contradicts what.
        why: String,
    },
    /// The file is sound, but asks for something that this engine does not have.
    #[error("{path} is not supported: {why}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        why: String,
    },
    /// An adapter is sound, but not for this model.
    #[error("{path} does not go with the model: {source}")]
    Adapter {
        /// The adapter's file or folder.
        path: PathBuf,
        /// Why not.
        source: AdapterError,
    },
    /// The configuration and this machine do not fit.
    #[error("cannot run here: {0}")]
    Device(String),
}

/// An adapter does not make sense, or does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// It changes nothing.
    #[error("the adapter has no matrices")]
    Empty,
    /// A name that belongs to no projection.
    #[error(
        "{name} is no projection of a layer; names are like model.layers.0.self_attn.q_proj or blk.0.attn_q"
    )]
    Foreign {
        /// The name.
        name: String,
    },
    /// A part contradicts itself.
    #[error("{name}: {why}")]
    Invalid {
        /// The projection.
        name: String,
        /// What contradicts what.
        why: String,
    },
    /// A part that the engine cannot compute with this model.
    #[error("{name} cannot be adapted: {why}")]
    Unsupported {
        /// The projection, by GGUF's name.
        name: String,
        /// Why, and what to do.
        why: String,
    },
    /// Sizes of another model.
    #[error(
        "{tensor} is {} x {}, but this model needs {} x {}: it was made for another one",
        found[0], found[1], expected[0], expected[1]
    )]
    Shape {
        /// The matrix, by GGUF's name of its projection.
        tensor: String,
        /// Rows and columns that the model needs.
        expected: [usize; 2],
        /// Those of the adapter.
        found: [usize; 2],
    },
    /// It was made for another family of models.
    #[error("the adapter was made for a model of family {made_for}, this one is {model}")]
    OtherFamily {
        /// The adapter's, as GGUF names it.
        made_for: String,
        /// The model's.
        model: &'static str,
    },
    /// The engine's device computes no adapters.
    #[error(
        "adapters run on the engine's own CPU kernels only, not on {device}: merge the adapter into the weights \
         (jury train merge), or leave the device out"
    )]
    Device {
        /// The device's numerics class.
        device: String,
    },
    /// No adapter of this id is loaded.
    #[error("adapter {id} is not loaded: it was unloaded, or belongs to another engine")]
    NotLoaded {
        /// The id's number.
        id: u64,
    },
}

/// A prompt cannot be turned into tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// No messages.
    #[error("a prompt needs at least one message")]
    Empty,
    /// The model's chat template refused the conversation.
    #[error("the model's chat template refused the conversation: {0}")]
    Template(String),
    /// The chat template dropped or doubled a message.
    #[error("the model's chat template shows message {index} {times} times instead of once")]
    MessageLost {
        /// Index of the message in the prompt.
        index: usize,
        /// How often its content appears.
        times: usize,
    },
    /// The tokenizer failed.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
}

/// A group cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Prompt and the longest sample do not fit the context.
    #[error(
        "prompt of {prompt_tokens} tokens and its samples are {over_by} tokens over the context of {context}"
    )]
    TooLong {
        /// Length of the prompt.
        prompt_tokens: usize,
        /// The engine's context.
        context: usize,
        /// Tokens that would have to go.
        over_by: usize,
    },
    /// Even alone, a sample would not fit the KV cache.
    #[error(
        "the prompt and one sample need {needed_tokens} tokens of KV cache, which holds {room_tokens}; \
         give it more memory, or ask for a shorter prompt"
    )]
    TooLarge {
        /// For the prompt and one sample of its longest, in whole pages.
        needed_tokens: usize,
        /// What the KV cache holds, see [`crate::Engine::room_tokens`].
        room_tokens: usize,
    },
    /// The adapter that the group names.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The engine's card is lost: the engine has to be loaded anew.
    #[error("the card is lost: {why}")]
    Lost {
        /// What the card said.
        why: String,
    },
    /// A field has no meaning.
    #[error("{field}: {why}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// A sample could not be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The model's output is not a number.
    #[error("the model's output is not a number after {tokens} tokens")]
    NotANumber {
        /// Free tokens generated before.
        tokens: usize,
    },
    /// The engine's card was lost while the sample waited or decoded. Nothing is wrong with the sample.
    #[error("the card is lost: {why}")]
    Lost {
        /// What the card said.
        why: String,
    },
    /// The opening that the caller gave is longer than the room the context left.
    #[error("the read-out text of {tokens} tokens does not fit the context")]
    ReadoutTooLong {
        /// Its length.
        tokens: usize,
    },
    /// The engine failed; the message is for its developers.
    #[error("engine failure: {0}")]
    Internal(String),
}

/// Missing files in words: the first few of them.
fn listed(missing: &[PathBuf]) -> String {
    const NAMED: usize = 3;
    let names: Vec<String> =
        missing.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    let verb = if missing.len() == 1 { "is" } else { "are" };
    match missing.len().saturating_sub(NAMED) {
        0 => format!("{} {verb}", names.join(", ")),
        more => format!("{} and {more} more {verb}", names.join(", ")),
    }
}
