//! The last verdicts of one tenant: numbers for many, and texts for as many as may be kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use jury_coordinator::observe::RequestNumber;
use jury_grm::domain::{
    Counts, Item, Provenance, Reason, Sample, ScoreRequest, Status, Verdict, VoteRule,
};

use super::Limits;
use super::running::without_state;

/// Number of verdicts whose numbers are kept, unless even more may keep their texts.
const RECENT: usize = 100;
/// Approximate size of a sample in addition to its texts.
const SAMPLE_BYTES: usize = 512;

/// The numbers of a verdict, without any text of the request or of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The request's number.
    pub number: RequestNumber,
    /// Its id.
    pub request_id: String,
    /// The item's id.
    pub item_id: String,
    /// When it was answered.
    pub at: SystemTime,
    /// How complete it is.
    pub status: Status,
    /// A reward for every response.
    pub rewards: Vec<Option<f64>>,
    /// The best response.
    pub pick: Option<usize>,
    /// The responses that share the highest reward.
    pub tied: Vec<usize>,
    /// Share of the voting samples whose own best is the pick, 0..=1.
    pub agreement: Option<f64>,
    /// Probability of the same pick, 0..=1.
    pub confidence: Option<f64>,
    /// The results of the samples, counted.
    pub counts: Counts,
    /// Time from arrival to answer, in milliseconds.
    pub total_ms: u64,
    /// Lowest and highest possible reward.
    pub range: (f64, f64),
    /// The reason why the first response without a reward has none.
    pub reason: Option<Reason>,
}

/// A verdict with everything that people look at.
#[derive(Debug)]
pub struct Case {
    /// What was judged.
    pub item: Item,
    /// The verdict, with every sample.
    pub verdict: Verdict,
}

/// The last verdicts of one tenant.
#[derive(Debug)]
pub struct Shelf {
    limits: Limits,
    /// Oldest first.
    entries: VecDeque<Entry>,
    n_cases: usize,
    n_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    figures: Arc<Figures>,
    case: Option<(Arc<Case>, usize)>,
}

// === impl Figures ===

impl Figures {
    /// The numbers of a verdict that is answered now.
    pub fn of(
        number: RequestNumber,
        request: &ScoreRequest,
        verdict: &Verdict,
        at: SystemTime,
    ) -> Self {
        Self {
            number,
            request_id: request.request_id.clone(),
            item_id: verdict.item_id.clone(),
            at,
            status: verdict.status,
            rewards: verdict.rewards.clone(),
            pick: verdict.pick,
            tied: verdict.tied.clone(),
            agreement: verdict.agreement,
            confidence: verdict.confidence,
            counts: verdict.counts,
            total_ms: verdict.run.total_ms,
            range: range_of(verdict),
            reason: verdict.reasons.iter().flatten().next().cloned(),
        }
    }
}

// === impl Case ===

impl Case {
    /// The parts of a verdict that people look at.
    pub fn of(request: Arc<ScoreRequest>, verdict: &Verdict) -> Self {
        let item =
            Arc::try_unwrap(request).map_or_else(|shared| shared.item.clone(), |own| own.item);
        let samples = verdict.samples.iter().flatten().map(without_state).collect();
        let verdict = Verdict { samples: Some(samples), ..without_samples(verdict) };
        Self { item, verdict }
    }

    /// The samples, by index.
    pub fn samples(&self) -> &[Sample] {
        self.verdict.samples.as_deref().unwrap_or_default()
    }

    /// Approximate size in memory.
    pub fn n_bytes(&self) -> usize {
        let of_sample = |sample: &Sample| {
            let probabilities =
                sample.scores().and_then(|scores| scores.score_distribution.as_ref());
            let n_numbers = probabilities.map_or(0, |all| all.iter().map(Vec::len).sum());
            let of_numbers = (n_numbers + 2 * sample.spec.order.len()) * size_of::<f64>();
            SAMPLE_BYTES + sample.principles.len() + sample.critique.len() + of_numbers
        };
        self.item.text_bytes() + self.samples().iter().map(of_sample).sum::<usize>()
    }
}

fn without_samples(verdict: &Verdict) -> Verdict {
    Verdict {
        item_id: verdict.item_id.clone(),
        status: verdict.status,
        rewards: verdict.rewards.clone(),
        reasons: verdict.reasons.clone(),
        pick: verdict.pick,
        tied: verdict.tied.clone(),
        confidence: verdict.confidence,
        agreement: verdict.agreement,
        stopped_by: verdict.stopped_by,
        voters: verdict.voters.clone(),
        weights: verdict.weights.clone(),
        meta_unavailable: verdict.meta_unavailable.clone(),
        counts: verdict.counts,
        usage: verdict.usage,
        provenance: verdict.provenance.clone(),
        samples: None,
        run: verdict.run.clone(),
    }
}

fn range_of(verdict: &Verdict) -> (f64, f64) {
    let Provenance { settings, voting, .. } = &verdict.provenance;
    match voting.rule {
        Some(VoteRule::Majority) => (0.0, 1.0),
        _ => (settings.scale.min.into(), settings.scale.max.into()),
    }
}

// === impl Shelf ===

impl Shelf {
    /// An empty shelf.
    pub fn new(limits: Limits) -> Self {
        Self { limits, entries: VecDeque::new(), n_cases: 0, n_bytes: 0 }
    }

    /// Adds a verdict as the newest. Texts beyond the limits are dropped, oldest first; a verdict that exceeds the
    /// limit on its own keeps only its numbers.
    pub fn put(&mut self, figures: Figures, case: Option<Case>) {
        let case = case.map(|case| {
            let n_bytes = case.n_bytes();
            (Arc::new(case), n_bytes)
        });
        let case = case.filter(|(_, n_bytes)| *n_bytes <= self.limits.bytes);
        if let Some((_, n_bytes)) = &case {
            self.n_cases += 1;
            self.n_bytes += n_bytes;
        }
        self.entries.push_back(Entry { figures: Arc::new(figures), case });
        self.forget();
    }

    /// All numbers, newest first, and whether each verdict still has its texts.
    pub fn newest_first(&self) -> Vec<(Arc<Figures>, bool)> {
        let line = |entry: &Entry| (Arc::clone(&entry.figures), entry.case.is_some());
        self.entries.iter().rev().map(line).collect()
    }

    /// Finds one of them.
    pub fn find(&self, number: RequestNumber) -> Option<(Arc<Figures>, Option<Arc<Case>>)> {
        let entry = self.entries.iter().find(|entry| entry.figures.number == number)?;
        Some((Arc::clone(&entry.figures), entry.case.as_ref().map(|(case, _)| Arc::clone(case))))
    }

    fn forget(&mut self) {
        let oldest_first = self.entries.iter_mut();
        for entry in oldest_first {
            if self.n_cases <= self.limits.verdicts && self.n_bytes <= self.limits.bytes {
                break;
            }
            if let Some((_, n_bytes)) = entry.case.take() {
                self.n_cases -= 1;
                self.n_bytes -= n_bytes;
            }
        }
        while self.entries.len() > RECENT.max(self.limits.verdicts) {
            if let Some(Entry { case: Some((_, n_bytes)), .. }) = self.entries.pop_front() {
                self.n_cases -= 1;
                self.n_bytes -= n_bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests;
