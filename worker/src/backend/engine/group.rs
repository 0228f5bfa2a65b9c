//! One group in the model's thread: from submission to its last event.

use jury_engine::{Engine, Event, GroupId, SubmitError};
use jury_grm::domain::{FailureKind, SampleSpec};
use jury_proto::convert::{TooLarge, TooLong};

use super::caller::Caller;
use super::tokenising::TokenisedGroup;
use super::translate;
use crate::backend::Cancelled;
use crate::reading::Reader;

/// A group that the engine draws.
pub(super) struct ActiveGroup {
    /// The engine identifies samples by their index in this list.
    samples: Vec<SampleSpec>,
    reader: Reader,
    prompt_tokens: u32,
    caller: Caller,
    /// Set once everything has been cancelled and the engine has been told.
    abandoned: Option<Cancelled>,
}

/// A group with the engine's id for it.
pub(super) struct Submitted {
    pub(super) id: GroupId,
    pub(super) group: ActiveGroup,
}

// === impl ActiveGroup ===

impl ActiveGroup {
    /// Submits a group to the engine, or reports to its caller why it was rejected.
    pub(super) fn submit(engine: &mut Engine, tokenised: TokenisedGroup) -> Option<Submitted> {
        let TokenisedGroup {
            mut samples,
            adapter,
            reader,
            hidden_states,
            cache_salt,
            prompt,
            longest,
            mut caller,
        } = tokenised;
        // Some may have been cancelled on the way here.
        samples.retain(|spec| caller.events.owes(spec.index));
        let prompt_tokens = to_u32(prompt.len());
        let specs =
            samples.iter().map(|spec| translate::spec(spec, &reader, hidden_states)).collect();
        let group =
            jury_engine::Group { prompt, samples: specs, cache_salt: cache_salt.map(Into::into) };
        let submitted = match adapter {
            None => engine.submit(group),
            Some(adapter) => engine.submit_adapted(group, adapter),
        };
        match submitted {
            Ok(id) => {
                caller.events.begun();
                let group = Self { samples, reader, prompt_tokens, caller, abandoned: None };
                Some(Submitted { id, group })
            }
            Err(error) => {
                refuse(caller, error, longest);
                None
            }
        }
    }

    /// Passes the caller's cancels on to the engine.
    pub(super) fn apply_cancels(&mut self, engine: &mut Engine, id: GroupId) {
        if self.abandoned.is_some() {
            return;
        }
        match self.caller.take_cancelled() {
            Cancelled::Nothing => {}
            Cancelled::Samples(indices) => {
                for (place, spec) in self.samples.iter().enumerate() {
                    if indices.contains(&spec.index) {
                        engine.cancel(id, place);
                    }
                }
            }
            all @ (Cancelled::TimedOut | Cancelled::Group) => {
                self.abandoned = Some(all);
                engine.cancel_group(id);
            }
        }
    }

    /// Forwards an event to the caller.
    pub(super) fn record(&mut self, event: Event) {
        let events = &mut self.caller.events;
        match event {
            Event::Prefilled { prompt_tokens, cached_tokens, .. } => {
                events.accepted(to_u32(prompt_tokens), to_u32(cached_tokens));
            }
            Event::Progress { sample, tokens, .. } => {
                if let Some(spec) = self.samples.get(sample) {
                    events.progress(spec.index, to_u32(tokens));
                }
            }
            Event::Finished { sample, output, .. } => {
                if let Some(spec) = self.samples.get(sample).cloned() {
                    self.finish(spec, output);
                }
            }
            Event::Failed { sample, error, .. } => {
                if let Some(spec) = self.samples.get(sample) {
                    events.failed(spec.index, FailureKind::Worker, error.to_string());
                }
            }
        }
    }

    /// True when every sample has ended.
    pub(super) fn is_complete(&self) -> bool {
        self.caller.events.owed() == 0
    }

    fn finish(&mut self, spec: SampleSpec, output: jury_engine::SampleOutput) {
        let index = spec.index;
        let events = &mut self.caller.events;
        match translate::sample(spec, &self.reader, self.prompt_tokens, output) {
            Some(sample) => events.finished(sample),
            None if self.abandoned == Some(Cancelled::TimedOut) => events.timed_out(index),
            None => events.cancelled(index),
        }
    }
}

/// Reports why the engine rejects a group: too long for the model on any worker, or too large for this worker's memory.
fn refuse(caller: Caller, error: SubmitError, longest: Option<(usize, usize)>) {
    match error {
        SubmitError::TooLong { prompt_tokens, over_by, .. } => caller.events.too_long(TooLong {
            prompt_tokens: to_u32(prompt_tokens),
            limit_tokens: to_u32(prompt_tokens.saturating_sub(over_by)),
            over_by: to_u32(over_by),
            longest_response: longest.map(|(response, _)| response),
            longest_response_tokens: longest.map_or(0, |(_, tokens)| to_u32(tokens)),
        }),
        SubmitError::TooLarge { needed_tokens, room_tokens } => {
            caller.events.too_large(TooLarge {
                needed_tokens: to_u32(needed_tokens),
                room_tokens: to_u32(room_tokens),
            });
        }
        other => caller.events.fail_all(FailureKind::Worker, &other.to_string()),
    }
}

fn to_u32(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
