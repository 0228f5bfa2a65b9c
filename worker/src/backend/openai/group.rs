//! One group: each sample is a request, and each cancel closes a connection.
//!
//! ```text
//! prepare   tokenise, or neutralise; too long?
//! draw      one task per sample -> Told -> GroupEvents, until every sample has ended or is unwanted
//! ```
//!
//! If later requests can reuse a prompt that the upstream has read, the first sample goes ahead alone until the
//! upstream has read the prompt.

use std::collections::BTreeMap;
use std::sync::Arc;

use jury_grm::domain::{FailureKind, Sample, SampleSpec};
use jury_grm::parse::Begins;
use jury_proto::convert::{SampleGroup, TooLong};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::ask::Wanted;
use super::draw::{self, Shared, Teller, Told};
use super::error::UpstreamError;
use super::prompt::Prompt;
use super::upstream::{Upstream, tries};
use crate::backend::engine::engine_prompt;
use crate::backend::{CancelRequests, Cancelled, GroupEvents};
use crate::reading::{Reader, longest_response};

/// Tokens of a read-out, before and for each score.
const READOUT_TOKENS: u32 = 32;
const READOUT_TOKENS_PER_SCORE: u32 = 8;
/// Maximum reports from samples that the group has not received yet.
const TOLD: usize = 64;

/// A group that is being drawn.
struct Drawing {
    events: GroupEvents,
    tasks: BTreeMap<u32, AbortHandle>,
    /// Maximum tokens of a sample after its prompt.
    generated_tokens: u32,
    /// Whether the group's acceptance has been reported.
    is_accepted: bool,
    /// Failures from before the acceptance.
    failed: Vec<(u32, UpstreamError)>,
    /// Lets the samples after the first one begin.
    prompt_is_read: watch::Sender<bool>,
}

/// Draws a group to its end, or until it is no longer wanted.
pub(super) async fn run(
    upstream: Arc<Upstream>,
    group: SampleGroup,
    mut events: GroupEvents,
    cancels: CancelRequests,
) {
    events.begun();
    let (shared, longest, samples) = match prepare(upstream.clone(), group).await {
        Ok(prepared) => prepared,
        Err(why) => return events.fail_all(FailureKind::Worker, &why),
    };
    if let Some(too_long) = too_long(&upstream, &shared, longest) {
        return events.too_long(too_long);
    }
    draw(upstream, shared, samples, events, cancels).await;
}

type Prepared = (Shared, Option<(usize, usize)>, Vec<SampleSpec>);

/// Runs on a thread for blocking work: a long prompt takes a while.
async fn prepare(upstream: Arc<Upstream>, group: SampleGroup) -> Result<Prepared, String> {
    let prepare = move || {
        let tokenizer = upstream.tokenizer.as_ref();
        let prompt = Prompt::new(tokenizer, &group.messages).map_err(|error| error.to_string())?;
        let begins = match tokenizer.map(|it| it.answer_opening(&engine_prompt(&group.messages))) {
            Some(opening) => Begins::after(&opening.map_err(|error| error.to_string())?),
            None if upstream.opens_thought => Begins::InThought,
            None => Begins::Plainly,
        };
        let reader = Reader::new(&group.messages, group.order().len(), &group.settings);
        let reader = reader.beginning(begins);
        let longest = tokenizer
            .and_then(|tokenizer| longest_response(&group.messages, |text| tokenizer.count(text)));
        Ok((Shared::new(prompt, group.cache_salt, reader), longest, group.samples))
    };
    tokio::task::spawn_blocking(prepare).await.unwrap_or_else(|panic| Err(panic.to_string()))
}

/// Reports if prompt, thoughts, critique and read-out exceed the context; unknown if the upstream tokenises.
fn too_long(
    upstream: &Upstream,
    shared: &Shared,
    longest: Option<(usize, usize)>,
) -> Option<TooLong> {
    let prompt_tokens = shared.prompt.tokens()?;
    let limit_tokens =
        upstream.context_tokens.saturating_sub(generated_tokens(upstream, &shared.reader));
    (prompt_tokens > limit_tokens).then(|| told_too_long(prompt_tokens, limit_tokens, longest))
}

/// Maximum tokens of a sample after its prompt: thoughts, critique and read-out.
fn generated_tokens(upstream: &Upstream, reader: &Reader) -> u32 {
    let readout = reader.guide().map_or(0, |guide| {
        READOUT_TOKENS
            + READOUT_TOKENS_PER_SCORE * u32::try_from(guide.slots).unwrap_or(u32::MAX / 16)
    });
    let critique = reader.settings().max_critique_tokens;
    critique.saturating_add(upstream.max_thinking_tokens).saturating_add(readout)
}

fn told_too_long(
    prompt_tokens: u32,
    limit_tokens: u32,
    longest: Option<(usize, usize)>,
) -> TooLong {
    let over_by = prompt_tokens.saturating_sub(limit_tokens);
    let longest_response_tokens =
        longest.map_or(0, |(_, tokens)| u32::try_from(tokens).unwrap_or(u32::MAX));
    let longest_response = longest.map(|(response, _)| response);
    TooLong { prompt_tokens, limit_tokens, over_by, longest_response, longest_response_tokens }
}

async fn draw(
    upstream: Arc<Upstream>,
    shared: Shared,
    samples: Vec<SampleSpec>,
    events: GroupEvents,
    cancels: CancelRequests,
) {
    let (told, mut heard) = mpsc::channel(TOLD);
    let counts_first = shared.prompt.tokens().is_none() && !upstream.flavour.counts_early();
    let goes_ahead = upstream.flavour.shares_prompts() || counts_first;
    let prompt_is_read = watch::Sender::new(!goes_ahead);
    let generated_tokens = generated_tokens(&upstream, &shared.reader);
    let shared = Arc::new(shared);
    let mut running = JoinSet::new();
    let mut tasks = BTreeMap::new();
    for (place, spec) in samples.into_iter().enumerate() {
        let teller = Teller { index: spec.index, told: told.clone() };
        let mut may_begin = prompt_is_read.subscribe();
        let (upstream, shared) = (upstream.clone(), shared.clone());
        let index = spec.index;
        let task = async move {
            if place > 0 && may_begin.wait_for(|is_read| *is_read).await.is_err() {
                return;
            }
            let Ok(_place) = upstream.places.acquire().await else { return };
            let first = match place == 0 && counts_first {
                true => count(&upstream, &shared, &spec, &teller).await,
                false => Ok(()),
            };
            let result = match first {
                Ok(()) => draw::sample(&upstream, &shared, &spec, &teller).await,
                Err(error) => Err(error),
            };
            if result.as_ref().is_err_and(UpstreamError::is_lost) {
                upstream.seen.settle().await;
            }
            teller.ended(result).await;
        };
        tasks.insert(index, running.spawn(task));
    }
    drop(told);
    let mut drawing = Drawing {
        events,
        tasks,
        generated_tokens,
        is_accepted: false,
        failed: Vec::new(),
        prompt_is_read,
    };
    while drawing.events.owed() > 0 {
        tokio::select! {
            biased;
            cancelled = cancels.next() => drawing.cancel(&cancelled),
            () = drawing.events.closed() => return,
            told = heard.recv() => match told {
                Some(told) => drawing = match drawing.record(told) {
                    Some(drawing) => drawing,
                    None => return,
                },
                // Dropping the events fails what one of our tasks left unfinished.
                None => return,
            },
        }
    }
}

/// Requests only the number of the prompt's tokens, from an upstream whose streams report it too late.
async fn count(
    upstream: &Upstream,
    shared: &Shared,
    spec: &SampleSpec,
    teller: &Teller,
) -> Result<(), UpstreamError> {
    let ask = shared.ask(upstream, spec, Wanted::Count);
    let answer = tries(|| upstream.answer(&ask)).await?;
    let tokens = answer.counted.prompt.ok_or_else(|| {
        UpstreamError::Malformed("it does not tell how many tokens the prompt has".to_owned())
    })?;
    let tokens = *shared.asked_tokens.get_or_init(|| tokens);
    teller.prompt(tokens, answer.counted.cached.unwrap_or(0)).await;
    Ok(())
}

// === impl Drawing ===

impl Drawing {
    /// `None` if that ended the group.
    fn record(mut self, told: Told) -> Option<Self> {
        match told {
            Told::Prompt { tokens, cached } => self.accept(tokens, cached),
            Told::Progress { index, tokens } => self.events.progress(index, tokens),
            Told::Ended { index, result: Ok(sample) } => self.finish(index, sample),
            Told::Ended {
                result: Err(UpstreamError::TooLong { prompt_tokens, context_tokens }),
                ..
            } if !self.is_accepted => {
                let limit_tokens = context_tokens.saturating_sub(self.generated_tokens);
                self.events.too_long(told_too_long(prompt_tokens, limit_tokens, None));
                return None;
            }
            Told::Ended { index, result: Err(error) } => self.fail(index, error),
        }
        Some(self)
    }

    fn accept(&mut self, prompt_tokens: u32, cached_tokens: u32) {
        if !std::mem::replace(&mut self.is_accepted, true) {
            self.events.accepted(prompt_tokens, cached_tokens);
            for (index, error) in std::mem::take(&mut self.failed) {
                self.fail(index, error);
            }
        }
        self.prompt_is_read.send_replace(true);
    }

    fn finish(&mut self, index: u32, sample: Sample) {
        self.accept(sample.prompt_tokens, 0);
        self.tasks.remove(&index);
        self.events.finished(sample);
    }

    /// A failure waits until the group has been accepted, unless no sample is left that could bring that about.
    fn fail(&mut self, index: u32, error: UpstreamError) {
        self.prompt_is_read.send_replace(true);
        self.tasks.remove(&index);
        tracing::debug!(index, %error, "sample failed upstream");
        if self.is_accepted {
            self.events.failed(index, error.kind(), error.to_string());
            return;
        }
        self.failed.push((index, error));
        if self.failed.len() >= self.events.owed() {
            for (index, error) in std::mem::take(&mut self.failed) {
                self.events.failed(index, error.kind(), error.to_string());
            }
        }
    }

    /// Ends the tasks of samples that are no longer wanted, which closes their connections.
    fn cancel(&mut self, cancelled: &Cancelled) {
        self.events.apply(cancelled);
        let events = &self.events;
        self.failed.retain(|(index, _)| events.owes(*index));
        self.tasks.retain(|&index, task| {
            let is_wanted = events.owes(index);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
        // The sample that went ahead may be among them.
        self.prompt_is_read.send_replace(true);
        if !self.is_accepted && self.failed.len() >= self.events.owed() {
            for (index, error) in std::mem::take(&mut self.failed) {
                self.events.failed(index, error.kind(), error.to_string());
            }
        }
    }
}
