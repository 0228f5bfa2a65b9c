//! One sample, from its first request to its scores.

use std::sync::OnceLock;

use jury_grm::domain::{Finish, Issue, Sample, SampleSpec};
use tokio::sync::mpsc;

use super::ask::{Ask, Begun, Wanted};
use super::error::UpstreamError;
use super::prompt::Prompt;
use super::readout;
use super::text::{Ended, Limits, Text};
use super::upstream::{Upstream, tries};
use crate::reading::{DrawnText, Reader};

/// Tokens between two reports of progress.
const PROGRESS_TOKENS: u32 = 16;

/// What a group's samples share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) prompt: Prompt,
    pub(super) cache_salt: Option<String>,
    pub(super) reader: Reader,
    /// Tokens of the prompt, if they had to be requested.
    pub(super) asked_tokens: OnceLock<u32>,
}

/// What a sample reports to its group while it is drawn.
#[derive(Debug)]
pub(super) enum Told {
    /// The upstream has read the prompt.
    Prompt { tokens: u32, cached: u32 },
    /// The sample has grown.
    Progress { index: u32, tokens: u32 },
    /// The sample has ended.
    Ended { index: u32, result: Result<Sample, UpstreamError> },
}

/// Reports for one sample.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    pub(super) index: u32,
    pub(super) told: mpsc::Sender<Told>,
}

/// A text and the tokens of its prompt.
struct Written {
    ended: Ended,
    prompt_tokens: u32,
}

/// Draws one sample. Dropping the future closes its connection.
pub(super) async fn sample(
    upstream: &Upstream,
    shared: &Shared,
    spec: &SampleSpec,
    teller: &Teller,
) -> Result<Sample, UpstreamError> {
    let Shared { prompt, reader, .. } = shared;
    let Written { ended, prompt_tokens } = tries(|| write(upstream, shared, spec, teller)).await?;
    let Ended { mut text, finish, tokens: mut generated_tokens } = ended;
    let mut guided = None;
    if let Some(guide) = reader.guide() {
        let asked = readout::Asked {
            upstream,
            prompt,
            cache_salt: shared.cache_salt.as_deref(),
            guide: &guide,
            settings: reader.settings(),
            seed: spec.seed,
        };
        let read = asked.read(&text, finish == Finish::Limit).await?;
        text.push_str(&read.appended);
        generated_tokens = generated_tokens.saturating_add(read.tokens);
        guided = Some(read.scores);
    }
    let drawn = DrawnText { text, finish, prompt_tokens, generated_tokens };
    let mut sample = reader.sample(spec.clone(), drawn, guided);
    if prompt.is_neutralised() {
        sample.issues.push(Issue::NeutralisedSpecials);
    }
    Ok(sample)
}

/// One attempt at its free text.
async fn write(
    upstream: &Upstream,
    shared: &Shared,
    spec: &SampleSpec,
    teller: &Teller,
) -> Result<Written, UpstreamError> {
    let reader = &shared.reader;
    let settings = reader.settings();
    let limits =
        Limits { critique: settings.max_critique_tokens, thoughts: upstream.max_thinking_tokens };
    let wanted = Wanted::Text {
        temperature: settings.temperature,
        top_p: settings.top_p,
        max_tokens: limits.all(),
    };
    let ask = shared.ask(upstream, spec, wanted);
    let mut answers = upstream.stream(&ask).await?;
    let mut text = Text::new(limits, reader);
    let (mut finish, mut has_told, mut reported) = (None, false, 0);
    loop {
        let answer = match answers.next().await {
            Ok(Some(answer)) => answer,
            Ok(None) => break,
            // The text is complete, apart from what some servers send at their end.
            Err(UpstreamError::Cut | UpstreamError::Stuck(_) | UpstreamError::Stalled(_))
                if finish.is_some() =>
            {
                break;
            }
            Err(error) => return Err(error),
        };
        let tokens_before = text.tokens();
        match finish {
            None => finish = text.record(&answer),
            Some(_) => text.count(answer.counted),
        }
        if text.tokens() > tokens_before {
            answers.text_grew();
        }
        if let Some(read) = answer.counted.prompt {
            check_prompt(&shared.prompt, read)?;
        }
        let prompt_tokens = text.counted().prompt.or(shared.tokens());
        if let (Some(tokens), false) = (prompt_tokens, has_told) {
            teller.prompt(tokens, text.counted().cached.unwrap_or(0)).await;
            has_told = true;
        }
        if text.tokens().saturating_sub(reported) >= PROGRESS_TOKENS {
            reported = text.tokens();
            teller.progress(reported).await;
        }
        // A stream that we end ourselves need not be read further; closing the connection ends it at the upstream as
        // well.
        if finish.is_some() && answer.end.is_none() && prompt_tokens.is_some() {
            break;
        }
    }
    let finish = finish.ok_or(UpstreamError::Cut)?;
    let prompt_tokens = text.counted().prompt.or(shared.tokens()).unwrap_or(0);
    Ok(Written { ended: text.end(finish)?, prompt_tokens })
}

/// The upstream must have read as many tokens as we sent.
fn check_prompt(prompt: &Prompt, read: u32) -> Result<(), UpstreamError> {
    match prompt.tokens() {
        Some(sent) if sent != read => Err(UpstreamError::WrongPrompt { sent, read }),
        _ => Ok(()),
    }
}

// === impl Shared ===

impl Shared {
    /// The request that continues a sample's turn from `begun`.
    pub(super) fn ask<'a>(
        &'a self,
        upstream: &'a Upstream,
        spec: &SampleSpec,
        wanted: Wanted,
    ) -> Ask<'a> {
        Ask {
            flavour: upstream.flavour,
            model: &upstream.model,
            prompt: &self.prompt,
            cache_salt: self.cache_salt.as_deref(),
            begun: Begun::default(),
            seed: spec.seed,
            wanted,
        }
    }

    pub(super) fn new(prompt: Prompt, cache_salt: Option<String>, reader: Reader) -> Self {
        Self { prompt, cache_salt, reader, asked_tokens: OnceLock::new() }
    }

    /// Tokens of the prompt, as far as they are known without the stream.
    fn tokens(&self) -> Option<u32> {
        self.prompt.tokens().or(self.asked_tokens.get().copied())
    }
}

// === impl Teller ===

impl Teller {
    pub(super) async fn prompt(&self, tokens: u32, cached: u32) {
        self.tell(Told::Prompt { tokens, cached }).await;
    }

    async fn progress(&self, tokens: u32) {
        self.tell(Told::Progress { index: self.index, tokens }).await;
    }

    pub(super) async fn ended(&self, result: Result<Sample, UpstreamError>) {
        self.tell(Told::Ended { index: self.index, result }).await;
    }

    /// If the group is gone, nobody needs the report.
    async fn tell(&self, told: Told) {
        drop(self.told.send(told).await);
    }
}
