//! One group inside the model's thread: from submission to its last event.

use jury_engine::{Engine, Event, GroupId, SubmitError};
use jury_grm::domain::{FailureKind, SampleSpec, Settings};
use jury_grm::parse::ScoreShape;
use jury_grm::prompt::Message;
use jury_proto::convert::TooLong;

use super::occupancy::Seats;
use super::thread::NewGroup;
use super::translate;
use crate::backend::{CancelRequests, Cancelled, GroupEvents};

/// A group that the engine draws.
pub(super) struct ActiveGroup {
    /// The engine names samples by their place in this list.
    samples: Vec<SampleSpec>,
    settings: Settings,
    shape: ScoreShape,
    prompt_tokens: u32,
    events: GroupEvents,
    cancels: CancelRequests,
    seats: Seats,
    /// Everything has been cancelled; said to the engine once.
    abandoned: bool,
}

/// A group with the engine's name for it.
pub(super) struct Submitted {
    pub(super) id: GroupId,
    pub(super) group: ActiveGroup,
}

// === impl ActiveGroup ===

impl ActiveGroup {
    /// Hands a group to the engine, or answers its caller why not.
    pub(super) fn submit(engine: &mut Engine, new_group: NewGroup) -> Option<Submitted> {
        let NewGroup { group, events, cancels, seats, shape } = new_group;
        let prompt = match engine.encode(&translate::prompt(&group.messages)) {
            Ok(prompt) => prompt,
            Err(error) => {
                events.fail_all(FailureKind::Worker, &error.to_string());
                return None;
            }
        };
        let prompt_tokens = to_u32(prompt.len());
        let spec = |spec| translate::spec(spec, &group.settings, &shape);
        let samples = group.samples.iter().map(spec);
        let engine_group = jury_engine::Group { prompt, samples: samples.collect() };
        match engine.submit(engine_group) {
            Ok(id) => {
                let (samples, settings) = (group.samples, group.settings);
                let group = Self {
                    samples,
                    settings,
                    shape,
                    prompt_tokens,
                    events,
                    cancels,
                    seats,
                    abandoned: false,
                };
                Some(Submitted { id, group })
            }
            Err(error) => {
                match over_by(engine, &error) {
                    Some(over_by) => {
                        let answer = too_long(engine, &group.messages, prompt_tokens, over_by);
                        events.too_long(answer);
                    }
                    None => events.fail_all(FailureKind::Worker, &error.to_string()),
                }
                None
            }
        }
    }

    /// Tells the engine what the caller no longer wants.
    pub(super) fn apply_cancels(&mut self, engine: &mut Engine, id: GroupId) {
        if self.abandoned {
            return;
        }
        let cancelled =
            if self.events.is_closed() { Cancelled::Group } else { self.cancels.take() };
        match cancelled {
            Cancelled::Nothing => {}
            Cancelled::Samples(indices) => {
                for (place, spec) in self.samples.iter().enumerate() {
                    if indices.contains(&spec.index) {
                        engine.cancel(id, place);
                    }
                }
            }
            Cancelled::Group => {
                self.abandoned = true;
                engine.cancel_group(id);
            }
        }
    }

    /// Passes an event on.
    pub(super) fn record(&mut self, event: Event) {
        match event {
            Event::Prefilled { prompt_tokens, cached_tokens, .. } => {
                self.events.accepted(to_u32(prompt_tokens), to_u32(cached_tokens));
            }
            Event::Progress { sample, tokens, .. } => {
                if let Some(spec) = self.samples.get(sample) {
                    self.events.progress(spec.index, to_u32(tokens));
                }
            }
            Event::Finished { sample, output, .. } => {
                if let Some(spec) = self.samples.get(sample).cloned() {
                    self.finish(spec, output);
                }
            }
            Event::Failed { sample, error, .. } => {
                if let Some(spec) = self.samples.get(sample) {
                    self.events.failed(spec.index, FailureKind::Worker, error.to_string());
                }
            }
        }
        self.seats.keep(self.events.owed());
    }

    /// True when every sample has ended.
    pub(super) fn is_complete(&self) -> bool {
        self.events.owed() == 0
    }

    fn finish(&mut self, spec: SampleSpec, output: jury_engine::SampleOutput) {
        let index = spec.index;
        match translate::sample(spec, &self.settings, &self.shape, self.prompt_tokens, output) {
            Some(sample) => self.events.finished(sample),
            None => self.events.failed(index, FailureKind::NotNeeded, "cancelled"),
        }
    }
}

/// Tokens by which a refused prompt is too long; `None` when its length is not the reason. Memory counts as length:
/// both are answered by a shorter prompt.
fn over_by(engine: &Engine, error: &SubmitError) -> Option<usize> {
    match *error {
        SubmitError::TooLong { over_by, .. } => Some(over_by),
        SubmitError::NoMemory { needed_bytes, budget_bytes } => {
            let bytes_over = needed_bytes.saturating_sub(budget_bytes);
            let bytes_per_token = engine.model().kv_bytes_per_token.max(1);
            usize::try_from(bytes_over.div_ceil(bytes_per_token)).ok()
        }
        _ => None,
    }
}

fn too_long(engine: &Engine, messages: &[Message], prompt_tokens: u32, over_by: usize) -> TooLong {
    let over_by = to_u32(over_by);
    let longest = translate::longest_response(messages, |text| engine.count_tokens(text));
    TooLong {
        prompt_tokens,
        limit_tokens: prompt_tokens.saturating_sub(over_by),
        over_by,
        longest_response: longest.map(|(response, _)| response),
        longest_response_tokens: longest.map_or(0, |(_, tokens)| to_u32(tokens)),
    }
}

fn to_u32(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
