//! The model's thread.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jury_engine::{Counters, Engine, Event, GroupId};
use jury_grm::parse::ScoreShape;
use jury_proto::convert::SampleGroup;
use tokio::sync::watch;

use super::group::{ActiveGroup, Submitted};
use super::occupancy::Seats;
use crate::backend::{CancelRequests, GroupEvents};

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Message {
    /// Draw this.
    Start(Box<NewGroup>),
    /// Panic.
    #[cfg(test)]
    Die,
}

/// A group on its way to the engine.
#[derive(Debug)]
pub(super) struct NewGroup {
    pub(super) group: SampleGroup,
    pub(super) events: GroupEvents,
    pub(super) cancels: CancelRequests,
    pub(super) seats: Seats,
    /// What its scores must look like. Read from the prompt before it comes to the model\'s thread.
    pub(super) shape: ScoreShape,
}

/// The thread's own state.
struct ModelThread {
    engine: Engine,
    messages: Receiver<Message>,
    active: HashMap<GroupId, ActiveGroup>,
    counters: Arc<Mutex<Counters>>,
}

/// Starts the thread. It ends when every sender of `messages` is gone and the last sample has ended. If it panics,
/// what it returns here tells why.
pub(super) fn spawn(
    engine: Engine,
    messages: Receiver<Message>,
    counters: Arc<Mutex<Counters>>,
) -> io::Result<watch::Receiver<Option<Arc<str>>>> {
    let (death, told) = watch::channel(None);
    let mut model = ModelThread { engine, messages, active: HashMap::new(), counters };
    thread::Builder::new().name("jury-model".to_owned()).spawn(move || {
        // The state is used no more after a panic: it is dropped, which fails every group inside.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| model.run())) {
            let why: Arc<str> = panic_text(panic.as_ref()).into();
            tracing::error!(why = &*why, "model thread panicked");
            drop(model);
            death.send_replace(Some(why));
        }
    })?;
    Ok(told)
}

// === impl ModelThread ===

impl ModelThread {
    fn run(&mut self) {
        let mut events = Vec::new();
        while self.take_messages() {
            self.take_cancels();
            self.engine.step(&mut events);
            // Before its events: whoever has seen a sample's end finds it counted.
            *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.counters();
            for event in events.drain(..) {
                self.dispatch(event);
            }
            self.fail_forgotten();
        }
    }

    /// Takes what waits, and waits itself only when there is nothing to compute. False at the end.
    fn take_messages(&mut self) -> bool {
        loop {
            let next = if self.engine.is_idle() {
                self.messages.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.messages.try_recv()
            };
            match next {
                Ok(Message::Start(new_group)) => self.begin(*new_group),
                #[cfg(test)]
                Ok(Message::Die) => panic!("asked to die"),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !self.engine.is_idle(),
            }
        }
    }

    fn begin(&mut self, new_group: NewGroup) {
        if new_group.events.is_closed() {
            return; // its caller left while it waited
        }
        if let Some(Submitted { id, group }) = ActiveGroup::submit(&mut self.engine, new_group) {
            self.active.insert(id, group);
        }
    }

    /// Cancels before every step, so that what nobody wants costs no further token.
    fn take_cancels(&mut self) {
        for (&id, group) in &mut self.active {
            group.apply_cancels(&mut self.engine, id);
        }
    }

    /// A caller never waits for a sample that the engine no longer knows: dropping a group fails what it owes.
    fn fail_forgotten(&mut self) {
        if self.engine.is_idle() && !self.active.is_empty() {
            tracing::error!(groups = self.active.len(), "engine forgot samples");
            self.active.clear();
        }
    }

    fn dispatch(&mut self, event: Event) {
        let id = match &event {
            Event::Prefilled { group, .. }
            | Event::Progress { group, .. }
            | Event::Finished { group, .. }
            | Event::Failed { group, .. } => *group,
        };
        let Some(group) = self.active.get_mut(&id) else { return };
        group.record(event);
        if group.is_complete() {
            self.active.remove(&id);
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
