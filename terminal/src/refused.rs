//! An option that does not fit.

/// Why options do not go together, or a value is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct Refused {
    /// The option, as it is typed.
    pub flag: String,
    /// What is wrong, with the limit or the way out.
    pub problem: String,
}

// === impl Refused ===

impl Refused {
    /// `flag` as it is typed, and what is wrong with it.
    pub fn new(flag: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { flag: flag.into(), problem: problem.into() }
    }
}
