//! The model's thread.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use jury_engine::{Counters, Engine, Event, GroupId};
use tokio::time::Instant;

use super::job::{Job, Ranking};
use super::scorer::Scorer;

/// The thread's own state.
pub(super) struct ModelThread {
    engine: Engine,
    scorer: Scorer,
    jobs: Receiver<Job>,
    /// Calls that are not answered, by their number.
    active: HashMap<u64, Ranking>,
    /// Which call a group belongs to.
    owners: HashMap<GroupId, u64>,
    next_call: u64,
    counters: Arc<Mutex<Counters>>,
    /// Of the last step.
    events: Vec<Event>,
}

// === impl ModelThread ===

impl ModelThread {
    pub(super) fn new(
        engine: Engine,
        scorer: Scorer,
        jobs: Receiver<Job>,
        counters: Arc<Mutex<Counters>>,
    ) -> Self {
        let (active, owners) = (HashMap::new(), HashMap::new());
        Self { engine, scorer, jobs, active, owners, next_call: 0, counters, events: Vec::new() }
    }

    /// One step of the engine, with what came before it and what comes of it. False at the end.
    pub(super) fn turn(&mut self) -> bool {
        if !self.take_jobs() {
            return false;
        }
        self.drop_unwanted();
        self.engine.step(&mut self.events);
        // Before the answers: whoever has one finds it counted.
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.counters();
        for event in std::mem::take(&mut self.events) {
            self.record(&event);
        }
        self.answer_complete();
        true
    }

    /// Takes what waits, and waits itself only when there is nothing to compute. False at the end.
    fn take_jobs(&mut self) -> bool {
        loop {
            let next = if self.engine.is_idle() {
                self.jobs.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.jobs.try_recv()
            };
            match next {
                Ok(job) => self.begin(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !self.engine.is_idle(),
            }
        }
    }

    fn begin(&mut self, job: Job) {
        let ranking = Ranking::begin(job, &mut self.engine);
        let call = self.next_call;
        self.next_call += 1;
        self.owners.extend(ranking.groups().map(|group| (group, call)));
        self.active.insert(call, ranking);
        self.answer_complete();
    }

    /// Before every step, so that what nobody waits for costs no further one.
    fn drop_unwanted(&mut self) {
        let now = Instant::now();
        let is_unwanted = |ranking: &Ranking| ranking.is_abandoned() || ranking.is_overdue(now);
        let unwanted = self.active.extract_if(|_, ranking| is_unwanted(ranking));
        for (_, ranking) in unwanted.collect::<Vec<_>>() {
            for group in ranking.groups() {
                self.owners.remove(&group);
                self.engine.cancel_group(group);
            }
            ranking.answer();
        }
    }

    fn record(&mut self, event: &Event) {
        let (Event::Finished { group, .. } | Event::Failed { group, .. }) = event else { return };
        let owner = self.owners.remove(group).and_then(|call| self.active.get_mut(&call));
        let Some(ranking) = owner else { return };
        match event {
            Event::Finished { output, .. } => ranking.finish(*group, output, &self.scorer),
            Event::Failed { error, .. } => ranking.fail(*group, error),
            Event::Prefilled { .. } | Event::Progress { .. } => {}
        }
    }

    fn answer_complete(&mut self) {
        let complete = self.active.extract_if(|_, ranking| ranking.is_complete());
        complete.for_each(|(_, ranking)| ranking.answer());
    }
}
