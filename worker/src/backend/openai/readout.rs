//! The guided read-out on an upstream: short requests with the text so far, from which next-token probabilities are
//! read.
//!
//! The text so far is the prompt, the critique and the opening of the score line; each score is appended before the
//! next is requested. Scores come from the probabilities alone, whatever token the upstream draws.

use jury_engine::{Sampling, choose};
use jury_grm::domain::Settings;

use super::answer::Answer;
use super::ask::{Ask, Begun, Wanted};
use super::error::UpstreamError;
use super::prompt::Prompt;
use super::slot::{Slot, Told, Walk};
use super::upstream::{Upstream, tries};
use crate::reading::{Guide, GuideMode, GuidedScores};

/// A read-out to perform.
pub(super) struct Asked<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) prompt: &'a Prompt,
    pub(super) cache_salt: Option<&'a str>,
    pub(super) guide: &'a Guide,
    pub(super) settings: &'a Settings,
    pub(super) seed: u64,
}

/// The result of a read-out.
pub(super) struct Read {
    pub(super) scores: GuidedScores,
    /// What was appended to the free text.
    pub(super) appended: String,
    /// Tokens of the scores: at least one per score.
    pub(super) tokens: u32,
}

// === impl Asked ===

impl Asked<'_> {
    /// Reads every score after `text`.
    pub(super) async fn read(&self, text: &str, forced: bool) -> Result<Read, UpstreamError> {
        if self.upstream.listed == 0 {
            let problem = "it tells no log-probabilities, so no scores can be read out; ask for readout = free";
            return Err(UpstreamError::Malformed(problem.to_owned()));
        }
        let mut appended = self.guide.opening(text);
        let mut scores =
            GuidedScores { choices: Vec::new(), distributions: Vec::new(), mass: 1.0, forced };
        let mut tokens = 0;
        for slot in 0..self.guide.slots {
            let is_last = slot + 1 == self.guide.slots;
            let behind = if is_last { Guide::CLOSING } else { Guide::SEPARATOR };
            let Slot { distribution, mass } =
                self.slot(&format!("{text}{appended}"), behind).await?;
            let choice = self.choice(&distribution, slot);
            let score = &self.guide.choices[choice];
            tokens += self.count(score);
            appended.push_str(score);
            appended.push_str(behind);
            scores.choices.push(choice);
            scores.distributions.push(distribution);
            scores.mass = scores.mass.min(mass);
        }
        Ok(Read { scores, appended, tokens })
    }

    /// The score after `begun`; `behind` must follow it.
    async fn slot(&self, begun: &str, behind: &str) -> Result<Slot, UpstreamError> {
        let follow = behind.chars().next().unwrap_or('}');
        let named = self.named_tokens(behind);
        let told = if named.is_some() {
            Told::All
        } else {
            Told::Likeliest(self.upstream.listed as usize)
        };
        let mut walk = Walk::new(&self.guide.choices, follow);
        while let Some(beginning) = walk.next() {
            let answer = self.next_tokens(&format!("{begun}{beginning}"), named.as_deref()).await?;
            if answer.listed.is_empty() {
                let problem = "it has no log-probabilities, which were asked for";
                return Err(UpstreamError::Malformed(problem.to_owned()));
            }
            walk.record(&answer.listed, told);
        }
        walk.finish()
    }

    /// The probabilities of the token after `begun`.
    async fn next_tokens(
        &self,
        begun: &str,
        named: Option<&[u32]>,
    ) -> Result<Answer, UpstreamError> {
        let upstream = self.upstream;
        let tokens = match &upstream.tokenizer {
            Some(tokenizer) => tokenizer
                .encode_plain(begun)
                .map_err(|error| UpstreamError::Malformed(error.to_string()))?,
            None => Vec::new(),
        };
        let wanted = Wanted::Probabilities {
            listed: upstream.listed,
            of_tokens: named.map(<[u32]>::to_vec),
        };
        let (flavour, model, prompt) = (upstream.flavour, upstream.model.as_str(), self.prompt);
        let ask = Ask {
            flavour,
            model,
            prompt,
            cache_salt: self.cache_salt,
            begun: Begun { text: begun, tokens: &tokens },
            seed: self.seed,
            wanted,
        };
        tries(|| upstream.answer(&ask)).await
    }

    /// All tokens into which a score or its follower may be split, if the upstream can be asked for tokens by name.
    fn named_tokens(&self, behind: &str) -> Option<Vec<u32>> {
        let tokenizer = self.upstream.tokenizer.as_ref().filter(|_| self.upstream.tells_named)?;
        let digits = (0..10).map(|digit| digit.to_string());
        let closed = self.guide.choices.iter().map(|choice| format!("{choice}{behind}"));
        let follow = behind.chars().next().map(String::from);
        let texts = self.guide.choices.iter().cloned().chain(closed).chain(digits).chain(follow);
        let mut tokens: Vec<u32> =
            texts.flat_map(|text| tokenizer.encode_plain(&text).unwrap_or_default()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Some(tokens)
    }

    fn choice(&self, distribution: &[f64], slot: usize) -> usize {
        let Settings { temperature, top_p, .. } = *self.settings;
        let sampling = match self.guide.mode {
            GuideMode::Expected => Sampling { temperature: 0.0, top_p: 1.0, seed: self.seed },
            GuideMode::Sampled => {
                Sampling { temperature: temperature as f32, top_p: top_p as f32, seed: self.seed }
            }
        };
        choose(distribution, sampling, slot)
    }

    fn count(&self, score: &str) -> u32 {
        let tokens = self.upstream.tokenizer.as_ref().map_or(1, |tokenizer| tokenizer.count(score));
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}
