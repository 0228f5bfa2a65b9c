//! What happens while a prompt is tokenised: the tokenizer waits for the test.

use std::sync::mpsc;

use super::*;
use crate::backend::EventReceiver;

/// A tokenizer that waits for the test if the text says so.
struct Gated {
    tokenizer: Tokenizer,
    gate: Mutex<Receiver<()>>,
}

impl CountsTokens for Gated {
    fn encode(&self, prompt: &jury_engine::Prompt) -> Result<Vec<u32>, jury_engine::PromptError> {
        if prompt.messages[0].spans[0].text.starts_with("WAIT") {
            self.gate.lock().unwrap().recv().unwrap();
        }
        self.tokenizer.encode(prompt)
    }

    fn answer_opening(
        &self,
        prompt: &jury_engine::Prompt,
    ) -> Result<String, jury_engine::PromptError> {
        self.tokenizer.answer_opening(prompt)
    }

    fn count(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }
}

fn gated(change: impl FnOnce(&mut EngineBackendConfig)) -> (EngineBackend, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel();
    let gated = |tokenizer| -> Box<dyn CountsTokens> {
        Box::new(Gated { tokenizer, gate: Mutex::new(gate) })
    };
    (EngineBackend::load_with(config(change), gated).unwrap(), open)
}

fn waiting_group(n_samples: u32) -> SampleGroup {
    let mut group = group(n_samples, 1);
    let text = &mut group.messages[0].spans[0].text;
    *text = format!("WAIT{text}").into();
    group
}

/// Waits for this many progress events, which are 16 decode steps apart.
async fn progress(receiver: &mut EventReceiver, n_events: usize) {
    let mut seen = 0;
    while seen < n_events {
        let event = receiver.recv().await.expect("the group goes on");
        seen += usize::from(matches!(event, BackendEvent::Progress { .. }));
    }
}

#[tokio::test]
async fn samples_in_flight_take_step_after_step_while_a_prompt_is_tokenised() {
    let (backend, open) = gated(|_| {});
    let long = long_group(1);
    let (events, mut in_flight) = GroupEvents::channel(&long);
    let _in_flight = backend.start(long, events);
    progress(&mut in_flight, 1).await;

    let first = waiting_group(1);
    let (events, mut first_events) = GroupEvents::channel(&first);
    let _first = backend.start(first, events);
    let second = group(1, 1);
    let (events, mut second_events) = GroupEvents::channel(&second);
    let _second = backend.start(second, events);
    // However long tokenising takes (here, 64 steps), no step waits for it.
    progress(&mut in_flight, 4).await;
    assert!(first_events.try_recv().is_err());
    assert!(second_events.try_recv().is_err(), "a later group does not overtake");
    let load = Backend::load(&backend);
    assert_eq!((load.running, load.queued), (1, 2), "what the model does not have is queued");
    open.send(()).unwrap();
    for receiver in [&mut first_events, &mut second_events] {
        assert!(matches!(receiver.recv().await, Some(BackendEvent::Accepted { .. })));
    }
}

#[tokio::test]
async fn a_group_that_nobody_wants_any_more_gives_its_seats_back_while_it_waits() {
    let (backend, open) = gated(|_| {});
    let first = waiting_group(1);
    let (events, _first_events) = GroupEvents::channel(&first);
    let _first = backend.start(first, events);
    let started = |mut group: SampleGroup, remaining_ms| {
        group.remaining_ms = remaining_ms;
        let (events, receiver) = GroupEvents::channel(&group);
        (backend.start(group, events), receiver)
    };
    let (handle, receiver) = started(group(4, 1), None);
    let (_late, mut late_events) = started(group(2, 1), Some(0));
    drop((handle, receiver));
    assert_eq!(Backend::load(&backend).queued, 1, "of the group at work alone");
    for _ in 0..2 {
        let event = late_events.recv().await;
        let Some(BackendEvent::Failed { failure, .. }) = event else { panic!("{event:?}") };
        assert_eq!(failure.kind, FailureKind::TimedOut);
    }
    open.send(()).unwrap();
}
