//! What is printed if the run ends now, because of a signal or a failed program.

use std::sync::{Mutex, PoisonError};

/// The page with the finished results, shared by the measuring thread and the one that waits for signals.
#[derive(Debug, Default)]
pub struct SoFar(Mutex<Option<String>>);

// === impl SoFar ===

impl SoFar {
    /// Sets the page after another finished round.
    pub fn set(&self, page: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
    }

    /// Takes the page for printing; later callers get `None`.
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_page_is_printed_once() {
        let so_far = SoFar::default();
        assert_eq!(so_far.take(), None);
        so_far.set("one round".to_owned());
        so_far.set("two rounds".to_owned());
        assert_eq!(so_far.take().as_deref(), Some("two rounds"));
        assert_eq!(so_far.take(), None);
    }
}
