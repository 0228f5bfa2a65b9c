//! A rejected option.

use std::error::Error;
use std::io;

use crate::exit::{Exit, Failed};

/// Why options do not go together, or a value is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct Refused {
    /// The option, as it is typed.
    pub flag: String,
    /// What is wrong, with the limit or how to fix it.
    pub problem: String,
    /// How the command ends.
    pub exit: Exit,
}

// === impl Refused ===

impl Refused {
    /// `flag` as it is typed, and what is wrong with it.
    pub fn new(flag: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { flag: flag.into(), problem: problem.into(), exit: Exit::Usage }
    }

    /// `flag` names a file that cannot be used. One that cannot be read is no mistake in the command line.
    pub fn file(flag: impl Into<String>, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let is_io = |cause: &(dyn Error + 'static)| cause.is::<io::Error>();
        let exit = if error.chain().any(is_io) { Exit::NoInput } else { Exit::Usage };
        Self { exit, ..Self::new(flag, Failed::new(exit, error).message()) }
    }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::new(refused.exit, refused)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_no_mistake_in_the_command_line() {
        let missing = std::fs::read("no/such/file").context("cannot read no/such/file");
        let refused = Refused::file("--token-file", missing.unwrap_err());
        assert_eq!(refused.exit, Exit::NoInput);
        let told = refused.to_string();
        assert!(told.starts_with("--token-file: cannot read no/such/file: "), "{told}");
        assert_eq!(Refused::file("--meta", anyhow::anyhow!("no head")).exit, Exit::Usage);
    }
}
