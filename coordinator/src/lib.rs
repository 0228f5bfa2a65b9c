//! Admission, plan, dispatch, vote and verdict: the way of one request.
//!
//! ```text
//! service -> pipeline -> admission -> plan + render -> dispatch -> rank -> decide -> answer
//!                                                        |
//!                                                        +-- fleet (who is there, how busy)
//! ```
//!
//! `pipeline` alone knows every stage and tells the story on one screen; a stage never imports
//! a later one. `coordinator` is the handle: what requests share, its start and its end. Decisions are
//! pure: `admission::Queue`, `dispatch::Workbench`, `dispatch::assign` and everything of `jury-grm`; what awaits is a thin driver around them.

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

/// Version of Jury, as told in verdicts and status.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use config::{Config, ConfigError};
pub use coordinator::Coordinator;
pub use run::run;
