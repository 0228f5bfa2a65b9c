//! One scripted group while it is drawn.

use std::collections::BTreeSet;
use std::time::Duration;

use jury_grm::domain::SampleSpec;
use jury_proto::convert::{RankRequest, SampleGroup};
use tokio::time::{Instant, sleep_until};

use super::act::{PROMPT_TOKENS, scripted_state};
use super::{Act, Gate, ScriptHandle};
use crate::backend::{Availability, CancelRequests, Cancelled, GroupEvents};

/// What has happened to a backend so far, and which gates are open.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) groups: Vec<SampleGroup>,
    pub(super) rankings: Vec<RankRequest>,
    pub(super) released: BTreeSet<u32>,
    pub(super) all_released: bool,
    pub(super) cancelled: Vec<u32>,
    pub(super) ended: Vec<u32>,
    /// The steps that the load reports.
    pub(super) steps: u64,
    /// Samples started, over all groups.
    begun: u32,
    /// Samples whose group was dropped before they ended.
    abandoned: u32,
}

/// A group being drawn.
pub(super) struct Running {
    group: SampleGroup,
    /// Samples that have not ended, with their scripts.
    pending: Vec<(SampleSpec, Act)>,
    events: GroupEvents,
    handle: ScriptHandle,
    accepted: Instant,
}

// === impl Journal ===

impl Journal {
    /// Samples being drawn.
    pub(super) fn drawing(&self) -> u32 {
        let over = self.cancelled.len() + self.ended.len();
        self.begun - self.abandoned - over as u32
    }

    fn is_open(&self, index: u32, gate: Gate, elapsed: Duration) -> bool {
        match gate {
            Gate::Open => true,
            Gate::Held => self.all_released || self.released.contains(&index),
            Gate::After(time) => elapsed >= time,
            Gate::Hangs => false,
        }
    }
}

// === impl Running ===

impl Running {
    pub(super) fn new(
        group: SampleGroup,
        acts: Vec<Act>,
        events: GroupEvents,
        handle: ScriptHandle,
    ) -> Self {
        let pending: Vec<_> = group.samples.iter().cloned().zip(acts).collect();
        handle.journal.send_modify(|journal| journal.begun += pending.len() as u32);
        Self { group, pending, events, handle, accepted: Instant::now() }
    }

    /// Draws until every sample has ended, the caller is gone, or the backend has died.
    pub(super) async fn run(mut self, cancels: CancelRequests) {
        let mut journal = self.handle.journal.subscribe();
        let mut availability = self.handle.availability.subscribe();
        self.events.accepted(PROMPT_TOKENS, 0);
        for (spec, act) in &self.pending {
            for &tokens in &act.progress {
                self.events.progress(spec.index, tokens);
            }
        }
        loop {
            self.end_open_samples();
            if self.pending.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                _ = availability.wait_for(Availability::is_dead) => return,
                cancelled = cancels.next() => self.cancel(&cancelled),
                () = self.events.closed() => self.cancel(&Cancelled::Group),
                _ = journal.changed() => {}
                () = sleep_until(self.next_end()), if self.next_end() > self.accepted => {}
            }
        }
    }

    /// When the next sample ends by itself; the time of the group's acceptance if none does.
    fn next_end(&self) -> Instant {
        let times = self.pending.iter().filter_map(|(_, act)| match act.gate {
            Gate::After(time) => Some(time),
            Gate::Open | Gate::Held | Gate::Hangs => None,
        });
        self.accepted + times.min().unwrap_or_default()
    }

    fn end_open_samples(&mut self) {
        let elapsed = self.accepted.elapsed();
        let ready = {
            let journal = self.handle.journal.borrow();
            let is_open = |(spec, act): &mut (SampleSpec, Act)| {
                journal.is_open(spec.index, act.gate, elapsed)
            };
            self.pending.extract_if(.., is_open).collect::<Vec<_>>()
        };
        for (spec, act) in ready {
            match act.ending.sample(&spec, &self.group.settings) {
                Ok(mut sample) => {
                    if self.group.hidden_states && sample.scores().is_some() {
                        sample.hidden_state = Some(scripted_state(spec.seed));
                    }
                    self.events.finished(sample);
                }
                Err(kind) => self.events.failed(spec.index, kind, "as the script says"),
            }
            let index = spec.index;
            self.handle.journal.send_modify(|journal| journal.ended.push(index));
        }
    }

    fn cancel(&mut self, cancelled: &Cancelled) {
        self.events.apply(cancelled);
        let events = &self.events;
        let has_ended = |(spec, _): &mut (SampleSpec, Act)| !events.owes(spec.index);
        let dropped: Vec<_> = self.pending.extract_if(.., has_ended).collect();
        for (spec, _) in dropped {
            self.handle.journal.send_modify(|journal| journal.cancelled.push(spec.index));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let abandoned = self.pending.len() as u32;
        self.handle.journal.send_modify(|journal| journal.abandoned += abandoned);
    }
}
