//! Runs language models, with k samples of one prompt sharing its prefill.
//!
//! ```text
//! Engine::load        a GGUF file, or a folder of safetensors -> tokenizer, chat template, packed weights
//! Engine::encode      Prompt (trusted and untrusted spans) -> tokens
//! Engine::submit      Group (tokens, k samples) -> queue
//! Engine::step        plan -> one forward pass of prompt chunks and decoding sequences -> sampling -> events
//!
//! floats              sizes and weights as floats, for training
//!
//! Engine::load_adapter, Engine::submit_adapted: low-rank changes of the weights, swapped at run time (adapter)
//! merge               adds an adapter to the weights and writes new files
//!
//! measure             times groups on an engine    limits   what the machine could do at most    Host   its facts
//! head                a trained head on hidden states: how good is a sample?
//! ```
//!
//! An [`Engine`] belongs to one thread and is driven by calling [`Engine::step`] until it is idle; its compute threads
//! are internal. A sample's bits depend only on its prompt, settings and seed: not on other samples, the order of
//! arrival, the size of prefill chunks, cache hits or the number of threads. This holds for the CPU kernels and for
//! NVIDIA cards whose library supports it, but not for candle devices: see [`Engine::is_bitwise`].

pub mod adapter;
mod compute;
mod config;
pub mod cuda;
#[cfg(feature = "candle")]
mod device;
mod engine;
mod error;
mod event;
mod files;
pub mod floats;
mod gguf;
pub mod head;
mod hf;
mod host;
mod info;
pub mod limits;
mod machine;
pub mod measure;
pub mod merge;
mod model;
mod outputs;
mod prefix;
mod prompt;
mod prompt_lookup;
mod readout;
mod request;
mod sampling;
mod sequence;
mod tensor;
mod tokenizer;
mod tokens;

pub use adapter::{Adapter, AdapterId, LowRank, RowOrder};
pub use config::{CardWeights, DeviceKind, EngineConfig, KvRoom};
pub use engine::{Engine, inspect, weight_files};
pub use error::{AdapterError, LoadError, PromptError, SampleError, SubmitError};
pub use event::{Counters, Event, Finish, ReadoutOutput, SampleOutput};
pub use host::Host;
pub use info::ModelInfo;
pub use prompt::{Message, Prompt, Role, Span, Trust};
pub use request::{
    Group, GroupId, Look, NoWatch, Opening, Readout, ReadoutMode, SampleSpec, Sampling, Watch,
};
pub use sampling::choose;
pub use tokenizer::Tokenizer;
