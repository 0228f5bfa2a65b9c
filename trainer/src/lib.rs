//! Trains what Jury judges with.
//!
//! ```text
//! model     a language model whose loss has gradients: LoRA or full weights        optimiser  AdamW, schedule, clipping
//! meta      a head that ranks a judge's samples, from their hidden states          durable    files that are whole or not there
//! ```

pub mod durable;
pub mod error;
pub mod meta;
pub mod model;
pub mod optimiser;
