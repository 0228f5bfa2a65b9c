//! Cached verdicts, evicted oldest first: bounded in number, bytes and time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jury_grm::digest::PayloadDigest;
use jury_grm::domain::Verdict;
use jury_proto::v1;
use prost::Message;
use tokio::time::Instant;

use super::{Key, Limits};

#[derive(Debug)]
pub(super) struct Kept {
    limits: Limits,
    entries: HashMap<Key, Entry>,
    /// Keys in order of insertion; all have the same lifetime.
    by_age: VecDeque<Key>,
    n_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    payload: PayloadDigest,
    verdict: Arc<Verdict>,
    since: Instant,
    n_bytes: usize,
}

// === impl Kept ===

impl Kept {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, entries: HashMap::new(), by_age: VecDeque::new(), n_bytes: 0 }
    }

    /// The unexpired verdict under `key`, with the payload that it answers.
    pub(super) fn get(&mut self, key: &Key) -> Option<(PayloadDigest, Arc<Verdict>)> {
        self.forget_old();
        self.entries.get(key).map(|entry| (entry.payload, Arc::clone(&entry.verdict)))
    }

    /// Caches a verdict under a new key; a verdict larger than the whole cache is not stored.
    pub(super) fn insert(&mut self, key: Key, payload: PayloadDigest, verdict: Arc<Verdict>) {
        let n_bytes = v1::Verdict::from(Verdict::clone(&verdict)).encoded_len();
        if n_bytes > self.limits.max_bytes || self.entries.contains_key(&key) {
            return;
        }
        let entry = Entry { payload, verdict, since: Instant::now(), n_bytes };
        self.n_bytes += n_bytes;
        self.by_age.push_back(key.clone());
        self.entries.insert(key, entry);
        while self.n_bytes > self.limits.max_bytes || self.entries.len() > self.limits.max_entries {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self) {
        let ttl = self.limits.ttl;
        let is_old = |entry: &Entry| entry.since.elapsed() >= ttl;
        while self.by_age.front().and_then(|key| self.entries.get(key)).is_some_and(is_old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.by_age.pop_front().and_then(|key| self.entries.remove(&key));
        self.n_bytes -= oldest.map_or(0, |entry| entry.n_bytes);
    }
}
