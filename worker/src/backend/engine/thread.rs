//! The model's thread.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use jury_engine::{Counters, Engine, Event, GroupId};

use super::super::model_thread::Turn;
use super::RETRY_AFTER;
use super::group::{ActiveGroup, Submitted};
use super::tokenising::TokenisedGroup;

/// What the thread is asked.
pub(super) enum Message {
    /// Draw this.
    Start(Box<TokenisedGroup>),
    /// Panic.
    #[cfg(test)]
    Die,
}

// === impl Message ===

impl Message {
    /// Answers who asks while there is no engine: nothing is lost with it, so it may ask again.
    pub(super) fn refuse(self) {
        match self {
            Self::Start(group) => group.caller.events.busy(RETRY_AFTER),
            #[cfg(test)]
            Self::Die => panic!("asked to die"),
        }
    }
}

/// The thread's own state.
pub(super) struct ModelThread {
    engine: Engine,
    messages: Receiver<Message>,
    active: HashMap<GroupId, ActiveGroup>,
    counters: Arc<Mutex<Counters>>,
    /// Of the last step.
    events: Vec<Event>,
}

// === impl ModelThread ===

impl ModelThread {
    pub(super) fn new(
        engine: Engine,
        messages: Receiver<Message>,
        counters: Arc<Mutex<Counters>>,
    ) -> Self {
        Self { engine, messages, active: HashMap::new(), counters, events: Vec::new() }
    }

    /// The end of an engine that is lost: tells its samples' ends, drops it, and gives what asks.
    pub(super) fn into_messages(mut self) -> Receiver<Message> {
        self.dispatch_all();
        self.messages
    }

    /// One step of the engine, with what came before it and what comes of it; of a lost one nothing comes before
    /// [`Self::into_messages`].
    pub(super) fn turn(&mut self) -> Turn {
        if !self.take_messages() {
            return Turn::Done;
        }
        self.take_cancels();
        self.engine.step(&mut self.events);
        // Before its events: whoever has seen a sample's end finds it counted.
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.counters();
        if let Some(why) = self.engine.lost() {
            return Turn::Lost(why);
        }
        self.dispatch_all();
        self.fail_forgotten();
        Turn::More
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
                Ok(Message::Start(group)) => self.begin(*group),
                #[cfg(test)]
                Ok(Message::Die) => panic!("asked to die"),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return !self.engine.is_idle(),
            }
        }
    }

    fn begin(&mut self, mut tokenised: TokenisedGroup) {
        if !tokenised.caller.wants_any() {
            return; // its caller left while it waited
        }
        if let Some(Submitted { id, group }) = ActiveGroup::submit(&mut self.engine, tokenised) {
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

    fn dispatch_all(&mut self) {
        for event in std::mem::take(&mut self.events) {
            self.dispatch(event);
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
