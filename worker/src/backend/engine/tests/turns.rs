//! Runs the model thread's turns by hand, so that steps can be counted.

use std::sync::mpsc;

use super::*;
use crate::backend::EventReceiver;
use crate::reading::Reader;

/// The state of the model's thread without the thread.
struct Manual {
    model: ModelThread,
    mailbox: SyncSender<Message>,
    tokenizer: Tokenizer,
    occupancy: Arc<Occupancy>,
}

impl Manual {
    fn new() -> Self {
        let config = config(|_| {});
        let engine = Engine::load(&config.path, &config.engine).unwrap();
        let tokenizer = engine.tokenizer();
        let (mailbox, messages) = mpsc::sync_channel(8);
        let counters = Arc::new(Mutex::new(engine.counters()));
        let model = ModelThread::new(engine, messages, counters);
        let occupancy = Arc::new(Occupancy::new(8, 8));
        Self { model, mailbox, tokenizer, occupancy }
    }

    /// Submits a group and steps until its samples decode.
    fn begin(&mut self, group: SampleGroup) -> (GroupHandle, EventReceiver) {
        let (events, mut receiver) = GroupEvents::channel(&group);
        let events = events.seated(self.occupancy.seat(group.samples.len()).unwrap());
        let (handle, cancels) = GroupHandle::new(&group);
        let prompt = self.tokenizer.encode(&engine_prompt(&group.messages)).unwrap();
        let reader = Reader::new(&group.messages, 2, &group.settings);
        let samples = group.samples;
        let caller = Caller::new(events, cancels);
        let tokenised = tokenising::TokenisedGroup {
            adapter: None,
            samples,
            reader,
            hidden_states: false,
            cache_salt: None,
            prompt,
            longest: None,
            caller,
        };
        self.mailbox.send(Message::Start(Box::new(tokenised))).unwrap();
        while !matches!(receiver.try_recv(), Ok(BackendEvent::Accepted { .. })) {
            assert_eq!(self.model.turn(), Turn::More);
        }
        assert_eq!(self.model.turn(), Turn::More, "a step in which they have places");
        (handle, receiver)
    }
}

fn ends(receiver: &mut EventReceiver) -> Vec<(u32, FailureKind)> {
    let received = std::iter::from_fn(|| receiver.try_recv().ok());
    let ends = received.filter_map(|event| match event {
        BackendEvent::Failed { index, failure } => Some((index, failure.kind)),
        BackendEvent::Progress { .. } => None,
        other => panic!("{other:?}"),
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort_by_key(|&(index, _)| index);
    ends
}

#[test]
fn a_cancel_by_message_ends_its_sample_within_one_step_while_the_others_go_on() {
    let mut manual = Manual::new();
    let (handle, mut receiver) = manual.begin(long_group(3));
    handle.cancel(&[1]);
    assert_eq!(manual.model.turn(), Turn::More);
    assert_eq!(ends(&mut receiver), [(1, FailureKind::NotNeeded)]);
    assert_eq!(manual.occupancy.load(0).running, 2);
    for _ in 0..16 {
        assert_eq!(manual.model.turn(), Turn::More);
    }
    let mut growing: Vec<u32> = std::iter::from_fn(|| receiver.try_recv().ok())
        .map(|event| match event {
            BackendEvent::Progress { index, .. } => index,
            other => panic!("{other:?}"),
        })
        .collect();
    growing.sort_unstable();
    growing.dedup();
    assert_eq!(growing, [0, 2]);
}

#[test]
fn a_dropped_call_gives_all_its_seats_back_within_one_step() {
    let mut manual = Manual::new();
    let (handle, receiver) = manual.begin(long_group(3));
    assert_eq!(manual.occupancy.load(0).running, 3);
    drop((handle, receiver));
    assert_eq!(manual.model.turn(), Turn::More);
    assert_eq!(manual.occupancy.load(0).running, 0);
}

#[tokio::test(start_paused = true)]
async fn samples_whose_time_is_up_end_as_timed_out_within_one_step() {
    let mut manual = Manual::new();
    let group = SampleGroup { remaining_ms: Some(1000), ..long_group(2) };
    let (_handle, mut receiver) = manual.begin(group);
    assert!(ends(&mut receiver).is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(manual.model.turn(), Turn::More);
    assert_eq!(ends(&mut receiver), [(0, FailureKind::TimedOut), (1, FailureKind::TimedOut)]);
    assert_eq!(manual.occupancy.load(0).running, 0);
}
