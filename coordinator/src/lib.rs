//! The coordinator: admission, plan, dispatch, vote and verdict of each request.
//!
//! ```text
//! service -> pipeline -> admission -> plan + render -> dispatch -> rank -> decide -> answer
//!                                                        |
//!                                                        +-- fleet (who is there, how busy)
//! ```
//!
//! Only `pipeline` knows every stage, and it shows the whole sequence on one screen; a stage never imports a later
//! one. `coordinator` is the handle: what requests share, its start and its end. Decisions are pure
//! (`admission::Queue`, `dispatch::Workbench`, `dispatch::assign` and everything in `jury-grm`); the async code is a
//! thin driver around them.

mod admission;
mod answer;
mod config;
mod coordinator;
mod decide;
mod dispatch;
mod fleet;
mod idempotency;
mod metrics;
pub mod observe;
mod pipeline;
pub mod progress;
mod rank;
mod render;
mod run;
mod service;
pub mod tenants;

/// Version of Jury, as reported in verdicts and status.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use config::{Config, ConfigError};
pub use coordinator::Coordinator;
pub use run::run;
