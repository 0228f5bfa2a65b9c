//! Verdicts by request id: a repeated request is answered, not judged again.
//!
//! Key: (tenant, request id, item id), with a digest of the payload. Another payload under the same key is an error.
//! The same request id with another item id is another request, so a batch may use one id. Of identical concurrent
//! requests, one is judged and the others wait for it, each within its own budget:
//!
//! ```text
//! the leader's verdict is final -----------------> every follower gets it
//! it is not, and the follower's budget is over
//!   no later than the leader's ------------------> the follower gets it: it could do no better
//! it is not, and the follower has more time -----> one such follower judges, the others wait for it
//! the leader goes away, or is refused -----------> one follower judges
//! the follower's budget ends first --------------> the last verdict there was, or none
//! ```
//!
//! Only final verdicts are cached: OK, and UNSCORED for a reason that would not change. The cache is bounded in
//! number, bytes and time, and lives in one coordinator's memory.

mod kept;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jury_grm::digest::{PayloadDigest, payload_digest};
use jury_grm::domain::{ReasonCode, ScoreRequest, Status, Verdict};
use jury_proto::{ErrorCode, JuryError};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use kept::Kept;

/// Verdicts by request id.
#[derive(Debug, Clone)]
pub struct Idempotency {
    entries: Arc<Mutex<Entries>>,
}

/// Limits of the cache.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Verdicts.
    pub max_entries: usize,
    /// Total bytes, as sent.
    pub max_bytes: usize,
    /// How long each is cached.
    pub ttl: Duration,
}

/// What makes two requests the same.
#[derive(Debug, Clone)]
pub struct Identity {
    key: Key,
    payload: PayloadDigest,
    /// Whether its verdict may be cached after it was answered.
    may_keep: bool,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// The request was judged.
    Judged(Arc<Verdict>),
    /// It was answered with the verdict of an identical request.
    Replayed(Arc<Verdict>),
    /// It was not judged: its budget ended while an identical request was judged.
    OutOfTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Arc<str>,
    request_id: String,
    item_id: String,
}

#[derive(Debug)]
struct Entries {
    running: HashMap<Key, Running>,
    kept: Kept,
}

/// A request is being judged. The channel closes when its leader is done or gone.
#[derive(Debug)]
struct Running {
    payload: PayloadDigest,
    deadline: Instant,
    outcome: watch::Receiver<Option<Arc<Verdict>>>,
}

enum Turn {
    Judge(Leader),
    Wait { leaders_deadline: Instant, outcome: watch::Receiver<Option<Arc<Verdict>>> },
    Replay(Arc<Verdict>),
}

/// Judges on behalf of all identical requests; when it ends, by answer or by drop, they wake up.
struct Leader {
    idempotency: Idempotency,
    identity: Identity,
    outcome: watch::Sender<Option<Arc<Verdict>>>,
}

// === impl Identity ===

impl Identity {
    /// The identity of a request of `tenant`; `None` if it has no id and so is unlike any other. Samples are texts: if
    /// texts must not be kept, a verdict with samples is not cached.
    pub fn of(tenant: &Arc<str>, request: &ScoreRequest, keep_texts: bool) -> Option<Self> {
        (!request.request_id.is_empty()).then(|| Self {
            may_keep: keep_texts || !request.include_samples,
            key: Key {
                tenant: Arc::clone(tenant),
                request_id: request.request_id.clone(),
                item_id: request.item.id.clone(),
            },
            payload: payload_digest(request),
        })
    }
}

// === impl Idempotency ===

impl Idempotency {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        let entries = Entries { running: HashMap::new(), kept: Kept::new(limits) };
        Self { entries: Arc::new(Mutex::new(entries)) }
    }

    /// Answers a request by `deadline`, from the cache or by `judge`, which must meet the deadline itself.
    ///
    /// # Errors
    /// [`ErrorCode::RequestIdReused`] if the id came with another payload, and any error of `judge`.
    pub async fn once<F, J>(
        &self,
        identity: Option<Identity>,
        deadline: Instant,
        judge: J,
    ) -> Result<Answered, JuryError>
    where
        J: FnOnce() -> F,
        F: Future<Output = Result<Verdict, JuryError>>,
    {
        let Some(identity) = identity else {
            return judge().await.map(|verdict| Answered::Judged(Arc::new(verdict)));
        };
        let mut last_verdict = None;
        let mut has_waited = false;
        let out_of_time = |last| match last {
            Some(verdict) => Answered::Replayed(verdict),
            None => Answered::OutOfTime,
        };
        loop {
            match self.turn(&identity, deadline)? {
                Turn::Replay(verdict) => return Ok(Answered::Replayed(verdict)),
                Turn::Wait { leaders_deadline, mut outcome } => {
                    has_waited = true;
                    let ended = outcome.wait_for(Option::is_some);
                    let told = match timeout_at(deadline, ended).await {
                        Err(_) => return Ok(out_of_time(last_verdict)),
                        // The leader went away.
                        Ok(Err(_)) => None,
                        Ok(Ok(verdict)) => verdict.clone(),
                    };
                    if let Some(verdict) = told {
                        if is_final(&verdict) || deadline <= leaders_deadline {
                            return Ok(Answered::Replayed(verdict));
                        }
                        last_verdict = Some(verdict);
                    }
                }
                // No call is issued after the deadline.
                Turn::Judge(_) if has_waited && Instant::now() >= deadline => {
                    return Ok(out_of_time(last_verdict));
                }
                Turn::Judge(leader) => {
                    let verdict = Arc::new(judge().await?);
                    leader.end(Arc::clone(&verdict));
                    return Ok(Answered::Judged(verdict));
                }
            }
        }
    }

    fn turn(&self, identity: &Identity, deadline: Instant) -> Result<Turn, JuryError> {
        let Identity { key, payload, .. } = identity;
        let mut entries = self.lock();
        if let Some((kept_payload, verdict)) = entries.kept.get(key) {
            return if kept_payload == *payload {
                Ok(Turn::Replay(verdict))
            } else {
                Err(reused(key))
            };
        }
        if let Some(running) = entries.running.get(key) {
            if running.payload != *payload {
                return Err(reused(key));
            }
            let outcome = running.outcome.clone();
            return Ok(Turn::Wait { leaders_deadline: running.deadline, outcome });
        }
        let (sender, outcome) = watch::channel(None);
        let running = Running { payload: *payload, deadline, outcome };
        entries.running.insert(key.clone(), running);
        let (idempotency, identity) = (self.clone(), identity.clone());
        Ok(Turn::Judge(Leader { idempotency, identity, outcome: sender }))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}

// === impl Leader ===

impl Leader {
    /// Gives the verdict to every follower, and caches it if it is final.
    fn end(self, verdict: Arc<Verdict>) {
        if self.identity.may_keep && is_final(&verdict) {
            let Identity { key, payload, .. } = self.identity.clone();
            self.idempotency.lock().kept.insert(key, payload, Arc::clone(&verdict));
        }
        self.outcome.send_replace(Some(verdict));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.idempotency.lock().running.remove(&self.identity.key);
    }
}

fn reused(key: &Key) -> JuryError {
    let Key { request_id, item_id, .. } = key;
    let message = format!(
        "request_id: {request_id:?} was already used for item {item_id:?} with another request; \
         choose a new one"
    );
    JuryError {
        field: Some("request_id".to_owned()),
        ..JuryError::new(ErrorCode::RequestIdReused, message)
    }
}

/// True if judging again would give the same verdict.
fn is_final(verdict: &Verdict) -> bool {
    let lasting = |code| matches!(code, ReasonCode::TooLong | ReasonCode::ParseFailed);
    match verdict.status {
        Status::Ok => true,
        Status::Partial => false,
        Status::Unscored => verdict.reasons.iter().flatten().all(|reason| lasting(reason.code)),
    }
}

#[cfg(test)]
#[path = "idempotency/tests.rs"]
pub(crate) mod tests;
