//! The heads that a command serves.

use jury_engine::head::HeadError;
use jury_terminal::exit::{Exit, Failed};
use jury_worker::backend::Backend;
use jury_worker::heads::{Heads, HeadsError};

use crate::args::HeadArgs;

/// Loads the heads for a loaded model.
pub fn heads(args: &HeadArgs, backend: &dyn Backend) -> Result<Heads, Failed> {
    Heads::load(&args.files, &backend.info()).map_err(|error| {
        let exit = match &error {
            HeadsError::Unusable { source: HeadError::Io { .. }, .. } => Exit::NoInput,
            HeadsError::Unusable { .. } => Exit::BadData,
            _ => Exit::Usage,
        };
        Failed::new(exit, error)
    })
}
