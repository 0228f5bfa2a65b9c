//! Terminal output and options shared by Jury's commands.
//!
//! ```text
//! exit     exit codes                         meter    progress on stderr
//! refused  a rejected option                  number   parsing of numbers
//! model    options that select a model        page     text on stdout
//! ```

pub mod exit;
pub mod meter;
pub mod model;
pub mod number;
pub mod page;
mod refused;

pub use refused::Refused;
