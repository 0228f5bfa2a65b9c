//! What would be printed if the run ended now: it does when a signal comes or a program fails.

use std::sync::{Mutex, PoisonError};

/// The page of what is finished; shared by the thread that measures and the one that waits for signals.
#[derive(Debug, Default)]
pub struct SoFar(Mutex<Option<String>>);

// === impl SoFar ===

impl SoFar {
    /// One more round is finished.
    pub fn set(&self, page: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
    }

    /// The page, for whoever prints it; nobody else gets it.
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
