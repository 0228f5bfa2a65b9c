//! Verdicts by request id: a repeated request is answered, not judged again.
//!
//! Key: (request id, item id), with a digest of the payload; another payload under the same key
//! is an error. Of identical requests at once, one is judged and the others wait for it; should
//! it go away, one of those takes over. Only final verdicts are kept: OK, and UNSCORED for a
//! reason that would not change. Holds for one coordinator's memory.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jury_grm::domain::{ReasonCode, ScoreRequest, Status, Verdict};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::watch;
use tokio::time::Instant;

/// Verdicts by request id.
#[derive(Debug, Clone)]
pub struct Idempotency {
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
    max_entries: usize,
    ttl: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    request_id: String,
    item_id: String,
}

#[derive(Debug)]
struct Entry {
    payload: blake3::Hash,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Somebody judges; the channel closes when they are done or gone.
    Running(watch::Receiver<()>),
    Kept {
        verdict: Box<Verdict>,
        since: Instant,
    },
}

enum Turn {
    Judge(Leader),
    Wait(watch::Receiver<()>),
    Replay(Box<Verdict>),
}

/// Judges on behalf of all identical requests; its end, by answer or by drop, wakes them.
struct Leader {
    idempotency: Idempotency,
    key: Key,
    _closes_on_drop: watch::Sender<()>,
}

// === impl Idempotency ===

impl Idempotency {
    /// Keeps at most `max_entries` verdicts, each for `ttl`.
    pub fn new(max_entries: usize, ttl: Duration) -> Self {
        Self { entries: Arc::default(), max_entries, ttl }
    }

    /// Answers `request` from memory, or by `judge`.
    ///
    /// # Errors
    /// [`ErrorCode::RequestIdReused`] when the id came with another payload, and whatever
    /// `judge` errs with.
    pub async fn once<F, J>(&self, request: &ScoreRequest, judge: J) -> Result<Verdict, JuryError>
    where
        J: FnOnce() -> F,
        F: Future<Output = Result<Verdict, JuryError>>,
    {
        if request.request_id.is_empty() {
            return judge().await;
        }
        let payload = digest(request);
        loop {
            match self.turn(request, payload)? {
                Turn::Replay(verdict) => return Ok(*verdict),
                Turn::Wait(mut running) => {
                    // Nothing is ever sent: the channel closes when its leader ends.
                    drop(running.changed().await);
                }
                Turn::Judge(leader) => {
                    let verdict = judge().await?;
                    leader.keep(&verdict);
                    return Ok(verdict);
                }
            }
        }
    }

    fn turn(&self, request: &ScoreRequest, payload: blake3::Hash) -> Result<Turn, JuryError> {
        let key = Key { request_id: request.request_id.clone(), item_id: request.item.id.clone() };
        let mut entries = self.lock();
        self.forget_old(&mut entries, &key);
        if let Some(entry) = entries.get(&key) {
            if entry.payload != payload {
                return Err(JuryError {
                    field: Some("request_id".to_owned()),
                    ..JuryError::new(
                        ErrorCode::RequestIdReused,
                        format!(
                            "request_id: {:?} was already used for item {:?} with another request; \
                             choose a new one",
                            key.request_id, key.item_id
                        ),
                    )
                });
            }
            return Ok(match &entry.state {
                State::Running(running) => Turn::Wait(running.clone()),
                State::Kept { verdict, .. } => Turn::Replay(verdict.clone()),
            });
        }
        let (closes_on_drop, running) = watch::channel(());
        entries.insert(key.clone(), Entry { payload, state: State::Running(running) });
        Ok(Turn::Judge(Leader { idempotency: self.clone(), key, _closes_on_drop: closes_on_drop }))
    }

    /// Drops `key` when its time is past, and the oldest verdict when there are too many.
    fn forget_old(&self, entries: &mut HashMap<Key, Entry>, key: &Key) {
        let kept_since = |entry: &Entry| match entry.state {
            State::Kept { since, .. } => Some(since),
            State::Running(_) => None,
        };
        let since = entries.get(key).and_then(kept_since);
        if since.is_some_and(|since| since.elapsed() >= self.ttl) {
            entries.remove(key);
        }
        if entries.len() < self.max_entries || entries.contains_key(key) {
            return;
        }
        let oldest = entries
            .iter()
            .filter_map(|(key, entry)| Some((kept_since(entry)?, key)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, key)| key.clone());
        if let Some(oldest) = oldest {
            entries.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Leader ===

impl Leader {
    fn keep(&self, verdict: &Verdict) {
        if !is_final(verdict) {
            return;
        }
        if let Some(entry) = self.idempotency.lock().get_mut(&self.key) {
            entry.state = State::Kept { verdict: Box::new(verdict.clone()), since: Instant::now() };
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut entries = self.idempotency.lock();
        if matches!(entries.get(&self.key), Some(Entry { state: State::Running(_), .. })) {
            entries.remove(&self.key);
        }
    }
}

/// True when judging again would give the same verdict.
fn is_final(verdict: &Verdict) -> bool {
    let lasting = |code| matches!(code, ReasonCode::TooLong | ReasonCode::ParseFailed);
    match verdict.status {
        Status::Ok => true,
        Status::Partial => false,
        Status::Unscored => verdict.reasons.iter().flatten().all(|reason| lasting(reason.code)),
    }
}

/// Everything but the budget: a retry has less time left, and a kept verdict does not depend on it.
fn digest(request: &ScoreRequest) -> blake3::Hash {
    let timeless = ScoreRequest { budget_ms: None, ..request.clone() };
    let json = serde_json::to_vec(&timeless).expect("a request's fields all have a JSON form");
    blake3::hash(&json)
}

#[cfg(test)]
#[path = "idempotency/tests.rs"]
mod tests;
