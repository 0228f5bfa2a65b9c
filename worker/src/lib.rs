//! A worker: draws samples with a backend and serves them over gRPC.
//!
//! ```text
//! run        serve -> register -> ... -> not serving -> withdraw -> drain -> cut
//! service    gRPC: one group per call, every sample as it finishes
//! reading    a model's text to a sample, the same for every backend
//! backend    what draws or ranks: the embedded engine, an OpenAI-compatible server, a Meta RM, or a script (tests)
//! heads      trained heads that score samples as they end
//! models     which file a model's name refers to, and how to fetch it
//! metrics    Prometheus metrics of what was drawn
//! ```

pub mod backend;
pub mod heads;
pub mod metrics;
pub mod models;
mod reading;
pub mod run;
mod service;
