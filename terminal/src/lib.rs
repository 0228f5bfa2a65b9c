//! What the commands of Jury share towards the person at the terminal.
//!
//! ```text
//! exit     how a command ends                 meter    progress on stderr
//! refused  an option that does not fit        number   numbers as they are typed
//! model    the options that name a model      page     text on stdout
//! ```

pub mod exit;
pub mod meter;
pub mod model;
pub mod number;
pub mod page;
mod refused;

pub use refused::Refused;
