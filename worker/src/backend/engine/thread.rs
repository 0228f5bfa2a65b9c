//! The model's thread.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use jury_engine::{Counters, Engine, Event, GroupId};

use super::super::model_thread::Turn;
use super::RETRY_AFTER;
use super::group::{ActiveGroup, Submitted};
use super::tokenising::TokenisedGroup;

/// Messages to the thread.
pub(super) enum Message {
    /// Draw this group.
    Start(Box<TokenisedGroup>),
    /// Panic.
    #[cfg(test)]
    Die,
}

// === impl Message ===

impl Message {
    /// Answers a message while there is no engine. Nothing is lost with it, so the caller may ask again.
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
    /// Events of the last step.
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

    /// Ends the use of an engine that is lost: reports its samples' ends, drops it, and returns the mailbox.
    pub(super) fn into_messages(mut self) -> Receiver<Message> {
        self.dispatch_all();
        self.messages
    }

    /// One step of the engine: takes messages and cancels before it, and reports its events afterwards. If the engine
    /// is lost, [`Self::into_messages`] reports them.
    pub(super) fn turn(&mut self) -> Turn {
        if !self.take_messages() {
            return Turn::Done;
        }
        self.take_cancels();
        self.engine.step(&mut self.events);
        // Before its events, so that a caller that has seen a sample's end finds it counted.
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.counters();
        if let Some(why) = self.engine.lost() {
            return Turn::Lost(why);
        }
        self.dispatch_all();
        self.fail_forgotten();
        Turn::More
    }

    /// Takes the waiting messages, and blocks only when there is nothing to compute. False at the end.
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

    /// Applies cancels before every step, so that unwanted samples cost no further token.
    fn take_cancels(&mut self) {
        for (&id, group) in &mut self.active {
            group.apply_cancels(&mut self.engine, id);
        }
    }

    /// Ensures that no caller waits for a sample that the engine no longer knows: dropping a group fails the samples
    /// that it owes.
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
