//! The model's thread.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use jury_engine::{Counters, Engine, Event, GroupId};
use tokio::time::Instant;

use super::super::model_thread::{Revival, Turn, refuse_for};
use super::job::{Job, Ranking};
use super::scorer::Scorer;

/// The thread's own state.
pub(super) struct ModelThread<'a> {
    engine: Engine,
    scorer: &'a Scorer,
    jobs: Receiver<Job>,
    /// Calls that have not been answered, by their number.
    active: HashMap<u64, Ranking>,
    /// The call that a group belongs to.
    owners: HashMap<GroupId, u64>,
    next_call: u64,
    counters: Arc<Mutex<Counters>>,
    /// Events of the last step.
    events: Vec<Event>,
}

/// Runs the model on its thread: one engine, and a new one each time an engine is lost with its card.
pub(super) fn live(
    mut engine: Engine,
    scorer: &Scorer,
    mut jobs: Receiver<Job>,
    counters: &Arc<Mutex<Counters>>,
    revival: &Revival,
) {
    loop {
        let mut model = ModelThread::new(engine, scorer, jobs, counters.clone());
        let why = loop {
            match model.turn() {
                Turn::More => {}
                Turn::Done => return,
                Turn::Lost(why) => break why,
            }
        };
        revival.leave(&why);
        // Dropping these calls, now and later, reports to their callers that the model stopped.
        jobs = model.into_jobs();
        match revival.revive(|wait| refuse_for(wait, &jobs, drop)) {
            Some(revived) => engine = revived,
            None => return,
        }
    }
}

// === impl ModelThread ===

impl<'a> ModelThread<'a> {
    fn new(
        engine: Engine,
        scorer: &'a Scorer,
        jobs: Receiver<Job>,
        counters: Arc<Mutex<Counters>>,
    ) -> Self {
        let (active, owners) = (HashMap::new(), HashMap::new());
        Self { engine, scorer, jobs, active, owners, next_call: 0, counters, events: Vec::new() }
    }

    /// Ends the use of a lost engine: drops it together with its calls, since nothing else frees the card, and returns
    /// the mailbox.
    fn into_jobs(self) -> Receiver<Job> {
        self.jobs
    }

    /// One step of the engine: takes calls before it, and handles its events afterwards.
    fn turn(&mut self) -> Turn {
        if !self.take_jobs() {
            return Turn::Done;
        }
        self.drop_unwanted();
        self.engine.step(&mut self.events);
        // Before the answers, so that a caller that has one finds it counted.
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.counters();
        if let Some(why) = self.engine.lost() {
            return Turn::Lost(why);
        }
        for event in std::mem::take(&mut self.events) {
            self.record(&event);
        }
        self.answer_complete();
        Turn::More
    }

    /// Takes the waiting calls, and blocks only when there is nothing to compute. False at the end.
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

    /// Runs before every step, so that abandoned calls cost no further one.
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
            Event::Finished { output, .. } => ranking.finish(*group, output, self.scorer),
            Event::Failed { error, .. } => ranking.fail(*group, error),
            Event::Prefilled { .. } | Event::Progress { .. } => {}
        }
    }

    fn answer_complete(&mut self) {
        let complete = self.active.extract_if(|_, ranking| ranking.is_complete());
        complete.for_each(|(_, ranking)| ranking.answer());
    }
}
