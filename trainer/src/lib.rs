//! Trains Jury's models: judges by Self-Principled Critique Tuning, and heads that rank their samples.
//!
//! ```text
//! rft       drawn samples -> rejection -> training data                    (pure)
//! chat      item and order -> messages, messages -> sequences of tokens
//! rl        groups drawn with the current weights -> rewards by rule -> steps, resumable to the same bytes (GRPO)
//! sft       sequences -> steps of fine-tuning, resumable to the same bytes
//! model     a language model whose loss has gradients: LoRA or full weights
//! optimiser AdamW, schedule, clipping        checkpoint  parameters and moments in one file
//! order     passes over the training data
//! export    folders for other trainers
//! plot      curves over steps                report      what a run leaves for people
//! adapter   the learned adapter, PEFT format weights     all weights, as a folder of safetensors
//! durable   files written completely or not at all
//!
//! meta      a head that ranks a judge's samples, from their hidden states
//! ```

pub mod adapter;
pub mod chat;
mod checkpoint;
mod durable;
pub mod error;
pub mod export;
pub mod meta;
pub mod model;
pub mod optimiser;
mod order;
mod plot;
pub mod report;
pub mod rft;
pub mod rl;
pub mod sft;
pub mod weights;
