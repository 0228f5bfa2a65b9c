//! Serves samples over a backend.
//!
//! ```text
//! run        serve -> register -> ... -> not serving -> withdraw -> drain -> cut
//! service    gRPC: one group a call, every sample as it finishes
//! reading    a model's text to a sample, the same for every backend
//! backend    who draws: the embedded engine, or a script
//! heads      trained heads that score samples as they end
//! models     which file a model's name means, and how it gets here
//! metrics    what was drawn, as Prometheus sees it
//! ```

pub mod backend;
pub mod heads;
pub mod metrics;
pub mod models;
mod reading;
pub mod run;
mod service;
