//! The generative-reward-model method as pure functions.
//!
//! One request descends these modules from top to bottom:
//!
//! ```text
//! domain    what a request, a sample and a verdict are (their serde form is Jury's JSON)
//! plan      collapse -> panels -> balanced orders -> seeds          (before any sampling)
//! prompt    item + order -> trusted and untrusted spans
//! guide     what the engine writes itself, and when free text has ended
//! parse     model text -> scores with issues, never a panic
//! trajectory  a sample as text, for a Meta RM that reads it
//! vote      samples in index order -> rewards, pick, agreement, confidence
//! stop      samples in index order -> the shortest prefix that is enough
//! digest    one canonical encoding of items and requests, hashed
//! conclude  outcomes -> OK, PARTIAL, or no rewards and the reason
//! correct   what SPCT calls a correct trajectory
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
