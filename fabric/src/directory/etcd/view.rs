//! What a watcher knows of the fleet: pure, so that its rules can be tested.
//!
//! A list and a watch overlap: a list made while the watch runs may already contain changes that the watch has yet to
//! deliver. Every change has a revision. One at or before the last list's revision is already known, and applying it
//! would bring removed workers back.

use super::super::differences::{Fleet, differences};
use super::{Registration, Update};

/// The workers, by id, at some etcd revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Every change up to this revision is included.
    revision: i64,
    fleet: Fleet,
}

/// One change that a watch delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The revision that made it.
    pub(super) revision: i64,
    /// The worker id from the key.
    pub(super) worker_id: String,
    /// The worker; `None` if the key is gone or its value cannot be read.
    pub(super) worker: Option<Registration>,
}

/// Why a value in etcd is not a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("not a registration: {0}")]
    Malformed(String),
    #[error("it is the registration of another worker, {0:?}")]
    OtherId(String),
}

/// A list is older than what is already known: etcd's history was replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WentBack;

// === impl View ===

impl View {
    pub(super) fn new(revision: i64, workers: impl IntoIterator<Item = Registration>) -> Self {
        let fleet = workers.into_iter().map(|worker| (worker.worker_id.clone(), worker)).collect();
        Self { revision, fleet }
    }

    /// Where a watch must start so that it neither misses nor repeats a change.
    pub(super) fn next_revision(&self) -> i64 {
        self.revision + 1
    }

    /// The whole fleet, for a watcher that has nothing yet or may hold removed workers.
    pub(super) fn as_reset(&self) -> Update {
        Update::Reset(self.fleet.values().cloned().collect())
    }

    /// Applies a change from the watch. Returns the resulting update for the watcher, if any.
    pub(super) fn apply(&mut self, change: Change) -> Option<Update> {
        if change.revision <= self.revision {
            return None;
        }
        // The revision stays: one transaction may change several keys at the same revision.
        match change.worker {
            Some(worker) => {
                let known = self.fleet.insert(change.worker_id, worker.clone());
                (known.as_ref() != Some(&worker)).then_some(Update::Added(worker))
            }
            None => {
                self.fleet.remove(&change.worker_id)?;
                Some(Update::Removed(change.worker_id))
            }
        }
    }

    /// Applies a newer list. Returns the updates that lead to it.
    pub(super) fn replace(&mut self, newer: Self) -> Result<Vec<Update>, WentBack> {
        if newer.revision < self.revision {
            return Err(WentBack);
        }
        let updates = differences(&self.fleet, &newer.fleet);
        *self = newer;
        Ok(updates)
    }
}

/// Reads the value under `worker_id`'s key.
pub(super) fn read_worker(worker_id: &str, json: &[u8]) -> Result<Registration, Unreadable> {
    let worker: Registration = serde_json::from_slice(json)
        .map_err(|problem| Unreadable::Malformed(problem.to_string()))?;
    if worker.worker_id == worker_id {
        Ok(worker)
    } else {
        Err(Unreadable::OtherId(worker.worker_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str, address: &str) -> Registration {
        Registration { worker_id: id.to_owned(), ..Registration::at(address) }
    }

    fn put(revision: i64, id: &str, address: &str) -> Change {
        let worker = Some(worker(id, address));
        Change { revision, worker_id: id.to_owned(), worker }
    }

    fn delete(revision: i64, id: &str) -> Change {
        Change { revision, worker_id: id.to_owned(), worker: None }
    }

    #[test]
    fn a_watch_starts_right_after_the_list() {
        assert_eq!(View::new(41, []).next_revision(), 42);
    }

    #[test]
    fn a_change_that_the_list_contains_already_is_old_news() {
        let mut view = View::new(7, [worker("a", "a:1")]);
        assert_eq!(view.apply(delete(5, "a")), None);
        assert_eq!(view.apply(put(7, "a", "a:0")), None);
        assert_eq!(view.as_reset(), Update::Reset(vec![worker("a", "a:1")]));
    }

    #[test]
    fn a_worker_comes_changes_and_goes() {
        let mut view = View::new(1, []);
        assert_eq!(view.apply(put(2, "a", "a:1")), Some(Update::Added(worker("a", "a:1"))));
        assert_eq!(view.apply(put(3, "a", "a:1")), None, "the same facts are no news");
        assert_eq!(view.apply(put(4, "a", "a:2")), Some(Update::Added(worker("a", "a:2"))));
        assert_eq!(view.apply(delete(5, "a")), Some(Update::Removed("a".to_owned())));
        assert_eq!(view.apply(delete(6, "a")), None);
    }

    #[test]
    fn changes_of_one_transaction_all_count() {
        let mut view = View::new(1, []);
        assert!(view.apply(put(2, "a", "a:1")).is_some());
        assert!(view.apply(put(2, "b", "b:1")).is_some());
    }

    #[test]
    fn a_later_list_tells_only_what_differs() {
        let mut view = View::new(1, [worker("a", "a:1"), worker("b", "b:1"), worker("c", "c:1")]);
        let newer = View::new(9, [worker("b", "b:2"), worker("c", "c:1"), worker("d", "d:1")]);
        let expected = [
            Update::Removed("a".to_owned()),
            Update::Added(worker("b", "b:2")),
            Update::Added(worker("d", "d:1")),
        ];
        assert_eq!(view.replace(newer.clone()).unwrap(), expected);
        assert_eq!(view, newer);
        assert_eq!(view.replace(newer).unwrap(), []);
    }

    #[test]
    fn a_list_from_before_means_that_history_was_replaced() {
        let mut view = View::new(9, [worker("a", "a:1")]);
        assert_eq!(view.replace(View::new(3, [])), Err(WentBack));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_told_and_is_no_worker() {
        assert!(matches!(read_worker("a", b"\xff\xfe"), Err(Unreadable::Malformed(_))));
        assert!(matches!(read_worker("a", b"{}"), Err(Unreadable::Malformed(_))));
        let other = serde_json::to_vec(&worker("b", "b:1")).unwrap();
        assert_eq!(read_worker("a", &other), Err(Unreadable::OtherId("b".to_owned())));
        assert_eq!(read_worker("b", &other), Ok(worker("b", "b:1")));
    }
}
