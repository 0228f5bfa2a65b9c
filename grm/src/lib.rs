//! The generative-reward-model method as pure functions.
//!
//! A request passes through the first group of modules from top to bottom; the others serve them:
//!
//! ```text
//! domain      what a request, a sample and a verdict are (their serde form is Jury's JSON)
//! plan        collapse -> panels -> balanced orders -> seeds          (before any sampling)
//! prompt      item + order -> trusted and untrusted spans
//! guide       what the engine writes itself, and when free text has ended
//! parse       model text -> scores with issues, never a panic
//! trajectory  a sample as text, for a Meta RM that reads it
//! vote        samples in index order -> rewards, pick, agreement, confidence
//! stop        samples in index order -> the shortest prefix that is enough
//! conclude    outcomes -> OK, PARTIAL, or no rewards and the reason
//!
//! budget      the time budget of a request, from its own setting or the call's deadline
//! digest      one canonical encoding of items and requests, hashed
//! method      the versions of plan, template, parser and guide
//! correct     what SPCT calls a correct trajectory
//! random      seeded random numbers
//! ```
//!
//! Nothing here performs I/O, reads a clock or draws unseeded randomness.

mod budget;
pub mod conclude;
pub mod correct;
pub mod digest;
pub mod domain;
pub mod guide;
mod method;
pub mod parse;
pub mod plan;
pub mod prompt;
pub mod random;
pub mod stop;
pub mod trajectory;
pub mod vote;

pub use budget::budget_ms;
pub use method::{method_digest, method_version};
