//! The engine's error types, one for each kind of call.

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
        /// The operating system's error.
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
    /// The file ends before the data that its header lists, for example after an interrupted download.
    #[error(
        "{path} is truncated: it needs at least {needed_bytes} bytes, it has {file_bytes} (download it again)"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Up to the furthest end of a tensor, or, if the header itself is truncated, of what was being read.
        needed_bytes: u64,
        /// Its size.
        file_bytes: u64,
    },
    /// The file is the first part of a split model, and other parts are missing beside it.
    #[error(
        "{path} is part 1 of {count}, and {} missing: put every part beside it",
        listed(missing)
    )]
    MissingParts {
        /// The first part.
        path: PathBuf,
        /// Number of all parts.
        count: usize,
        /// The expected paths of the missing parts; not empty.
        missing: Vec<PathBuf>,
    },
    /// The file contradicts itself.
    #[error("{path} is corrupt: {why}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is contradictory.
        why: String,
    },
    /// The file is valid, but needs something that this engine does not support.
    #[error("{path} is not supported: {why}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it needs.
        why: String,
    },
    /// An adapter is valid, but not for this model.
    #[error("{path} does not go with the model: {source}")]
    Adapter {
        /// The adapter's file or folder.
        path: PathBuf,
        /// Why not.
        source: AdapterError,
    },
    /// The configuration does not fit this machine.
    #[error("cannot run here: {0}")]
    Device(String),
}

/// An adapter is invalid, or does not fit the model.
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
        /// What is contradictory.
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
    /// Its sizes are those of another model.
    #[error(
        "{tensor} is {} x {}, but this model needs {} x {}: it was made for another one",
        found[0], found[1], expected[0], expected[1]
    )]
    Shape {
        /// The matrix, by GGUF's name of its projection.
        tensor: String,
        /// Rows and columns that the model needs.
        expected: [usize; 2],
        /// Rows and columns that the adapter has.
        found: [usize; 2],
    },
    /// It was made for another family of models.
    #[error("the adapter was made for a model of family {made_for}, this one is {model}")]
    OtherFamily {
        /// The adapter's family, as GGUF names it.
        made_for: String,
        /// The model's family.
        model: &'static str,
    },
    /// The engine's device does not support adapters.
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
    /// The model's chat template rejected the conversation.
    #[error("the model's chat template refused the conversation: {0}")]
    Template(String),
    /// The chat template dropped or duplicated a message.
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

/// A group was rejected.
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
        /// Tokens over the limit.
        over_by: usize,
    },
    /// A single sample would not fit in the KV cache, even alone.
    #[error(
        "the prompt and one sample need {needed_tokens} tokens of KV cache, which holds {room_tokens}; \
         give it more memory, or ask for a shorter prompt"
    )]
    TooLarge {
        /// For the prompt and one sample of the greatest length, in whole pages.
        needed_tokens: usize,
        /// Capacity of the KV cache, see [`crate::Engine::room_tokens`].
        room_tokens: usize,
    },
    /// The adapter that the group uses is invalid.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The engine's card is lost: the engine must be loaded again.
    #[error("the card is lost: {why}")]
    Lost {
        /// The card's error.
        why: String,
    },
    /// A field is invalid.
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
    /// The model's output is not a finite number.
    #[error("the model's output is not a number after {tokens} tokens")]
    NotANumber {
        /// Free tokens generated before it.
        tokens: usize,
    },
    /// The engine's card was lost while the sample waited or decoded. The sample itself is fine.
    #[error("the card is lost: {why}")]
    Lost {
        /// The card's error.
        why: String,
    },
    /// The caller's opening text does not fit in the context that is left.
    #[error("the read-out text of {tokens} tokens does not fit the context")]
    ReadoutTooLong {
        /// Its length.
        tokens: usize,
    },
    /// An internal error of the engine; the message is for its developers.
    #[error("engine failure: {0}")]
    Internal(String),
}

/// Lists the first few missing files in words.
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
