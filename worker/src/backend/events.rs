//! Carries a group's events to the caller: bounded, never blocking the backend, each sample ended exactly once.
//!
//! The channel has room for the answer, for the end of every sample and for some progress. Progress yields: it is sent
//! only while there is still room for all ends that are owed. A slow reader therefore loses progress events and nothing
//! else, and a backend never waits for a reader. Dropping a [`GroupEvents`] fails the samples that it still owes.
//!
//! The events hold the group's seats and return each one before the sample's end is reported, so that a caller that has
//! seen the end finds the load without it.

mod spans;

use std::collections::BTreeSet;
use std::time::Duration;

use jury_grm::domain::{Failure, FailureKind, Sample};
use jury_proto::convert::{SampleGroup, TooLarge, TooLong};
use tokio::sync::mpsc;

use self::spans::SampleSpans;
use super::Cancelled;
use super::occupancy::Seats;

/// Room for progress in addition to the events that are owed: enough for a burst, small enough to stay current.
const PROGRESS_ROOM: usize = 32;

/// What a backend reports about a group.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendEvent {
    /// The group fits and its prompt is ready.
    Accepted {
        /// Tokens of the prompt, chat template included.
        prompt_tokens: u32,
        /// Those of them that were already computed for an earlier group.
        cached_tokens: u32,
    },
    /// The prompt does not fit; nothing follows.
    TooLong(TooLong),
    /// The prompt does not fit this worker's memory; nothing follows.
    TooLarge(TooLarge),
    /// No room now; nothing follows.
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The progress of a sample.
    Progress {
        /// Index of the sample in its plan.
        index: u32,
        /// Tokens generated so far.
        tokens: u32,
    },
    /// A sample ran to completion, scored or not.
    Finished(Sample),
    /// A sample could not be drawn, or was cancelled.
    Failed {
        /// Index of the sample in its plan.
        index: u32,
        /// Why.
        failure: Failure,
    },
}

/// The reading end; it ends when everything owed has been received.
pub type EventReceiver = mpsc::Receiver<BackendEvent>;

/// The reporting end of one group.
#[derive(Debug)]
pub struct GroupEvents {
    sender: mpsc::Sender<BackendEvent>,
    /// Indices whose end has not been reported.
    owed: BTreeSet<u32>,
    /// Seats of the samples that are owed; `None` if the backend has no seats.
    seats: Option<Seats>,
    spans: SampleSpans,
}

// === impl GroupEvents ===

impl GroupEvents {
    /// A channel for the events of `group`, whose samples belong to the current span.
    pub fn channel(group: &SampleGroup) -> (Self, EventReceiver) {
        let owed: BTreeSet<u32> = group.samples.iter().map(|spec| spec.index).collect();
        let (sender, receiver) = mpsc::channel(1 + owed.len() + PROGRESS_ROOM);
        (Self { sender, owed, seats: None, spans: SampleSpans::of_current_call() }, receiver)
    }

    /// The same events, holding the group's seats until its samples end.
    pub(super) fn seated(mut self, seats: Seats) -> Self {
        self.seats = Some(seats);
        self
    }

    /// The model now has the group.
    pub(super) fn begun(&mut self) {
        if let Some(seats) = &mut self.seats {
            seats.begin();
        }
    }

    /// True when the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the reader is gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// True while the end of sample `index` is owed.
    pub fn owes(&self, index: u32) -> bool {
        self.owed.contains(&index)
    }

    /// Number of samples whose end is owed.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Reports that the group fits.
    pub fn accepted(&mut self, prompt_tokens: u32, cached_tokens: u32) {
        self.spans.begin(self.owed.iter().copied());
        self.send_owed(BackendEvent::Accepted { prompt_tokens, cached_tokens });
    }

    /// Reports that the prompt does not fit; this ends the group.
    pub fn too_long(mut self, too_long: TooLong) {
        self.refuse(BackendEvent::TooLong(too_long));
    }

    /// Reports that the group fits the model but not this worker's memory; this ends the group.
    pub fn too_large(mut self, too_large: TooLarge) {
        self.refuse(BackendEvent::TooLarge(too_large));
    }

    /// Reports that there is no room now; this ends the group.
    pub fn busy(mut self, retry_after: Duration) {
        self.refuse(BackendEvent::Busy { retry_after });
    }

    /// Reports progress of a sample; dropped when the reader lags.
    pub fn progress(&self, index: u32, tokens: u32) {
        if self.sender.capacity() > self.owed.len() + 1 {
            self.send_owed(BackendEvent::Progress { index, tokens });
        }
    }

    /// Reports that a sample ran to completion. A second end of the same sample is ignored.
    pub fn finished(&mut self, sample: Sample) {
        self.spans.finish(&sample);
        if self.end(sample.spec.index) {
            self.send_owed(BackendEvent::Finished(sample));
        }
    }

    /// Reports that a sample could not be drawn. A second end of the same sample is ignored.
    pub fn failed(&mut self, index: u32, kind: FailureKind, detail: impl Into<String>) {
        self.spans.fail(index, kind);
        if self.end(index) {
            let failure = Failure { kind, detail: detail.into() };
            self.send_owed(BackendEvent::Failed { index, failure });
        }
    }

    /// Reports that this sample was cancelled.
    pub fn cancelled(&mut self, index: u32) {
        self.failed(index, FailureKind::NotNeeded, "cancelled");
    }

    /// Reports that the group's time was up before this sample ended.
    pub fn timed_out(&mut self, index: u32) {
        let detail = "the group's time left was over before the worker had drawn this sample";
        self.failed(index, FailureKind::TimedOut, detail);
    }

    /// Ends the samples that a cancel names; the others are still wanted. False if there are none.
    pub fn apply(&mut self, cancelled: &Cancelled) -> bool {
        for index in self.owed.clone() {
            match cancelled {
                Cancelled::Nothing => {}
                Cancelled::Samples(indices) if !indices.contains(&index) => {}
                Cancelled::Samples(_) | Cancelled::Group => self.cancelled(index),
                Cancelled::TimedOut => self.timed_out(index),
            }
        }
        !self.owed.is_empty()
    }

    /// Reports that none of the samples that are still owed can be drawn; this ends the group.
    pub fn fail_all(mut self, kind: FailureKind, detail: &str) {
        self.fail_owed(kind, detail);
    }

    fn fail_owed(&mut self, kind: FailureKind, detail: &str) {
        for index in self.owed.clone() {
            self.failed(index, kind, detail);
        }
    }

    fn refuse(&mut self, event: BackendEvent) {
        self.owed.clear();
        self.seats = None;
        self.send_owed(event);
    }

    /// Frees the sample's seat; false if its end was already reported.
    fn end(&mut self, index: u32) -> bool {
        let was_owed = self.owed.remove(&index);
        if let Some(seats) = &mut self.seats {
            seats.keep(self.owed.len());
        }
        was_owed
    }

    /// Sends an event for which the channel has room by construction. This fails only if the reader is gone, and then
    /// nobody needs the event.
    fn send_owed(&self, event: BackendEvent) {
        let sent = self.sender.try_send(event);
        debug_assert!(!matches!(sent, Err(mpsc::error::TrySendError::Full(_))));
    }
}

impl Drop for GroupEvents {
    fn drop(&mut self) {
        self.fail_owed(
            FailureKind::Worker,
            "the worker's backend stopped before the sample was drawn",
        );
    }
}

#[cfg(test)]
mod tests;
