//! Checks on a group before it is queued.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::{Engine, GroupState, Stage};
use crate::adapter::AdapterId;
use crate::error::SubmitError;
use crate::model::adapted::Adapted;
use crate::model::kv::PAGE_TOKENS;
use crate::prefix::{self, Realm};
use crate::readout::TokenisedReadout;
use crate::request::{Group, GroupId, Readout, SampleSpec, Sampling};
use crate::sequence::Waiting;

// === impl Engine ===

impl Engine {
    pub(super) fn enqueue(
        &mut self,
        group: Group,
        adapter: Option<(AdapterId, Arc<Adapted>)>,
    ) -> Result<GroupId, SubmitError> {
        if let Some(why) = self.lost() {
            return Err(SubmitError::Lost { why });
        }
        self.check_prompt(&group.prompt)?;
        if group.samples.is_empty() {
            return Err(invalid("samples", "there are none"));
        }
        let mut waiting = VecDeque::new();
        let (mut longest, mut first_tokens) = (0, 0);
        for (sample, spec) in group.samples.into_iter().enumerate() {
            let ready = self.prepare(sample, spec)?;
            longest = longest
                .max(ready.max_tokens + ready.readout.as_ref().map_or(0, |readout| readout.room()));
            // A sample's first draw may end its free text; the opening then follows at once.
            let opening = ready.readout.as_ref().map_or(0, |readout| readout.opening_room);
            first_tokens = first_tokens.max(ready.max_tokens.min(1) + opening);
            waiting.push_back(ready);
        }
        let prompt_tokens = group.prompt.len();
        let wanted = prompt_tokens + longest;
        if wanted > self.context {
            let (context, over_by) = (self.context, wanted - self.context);
            return Err(SubmitError::TooLong { prompt_tokens, context, over_by });
        }
        let sequence_pages = longest.div_ceil(PAGE_TOKENS);
        self.check_memory(prompt_tokens.div_ceil(PAGE_TOKENS) + sequence_pages)?;
        let mut tokens = group.prompt.iter();
        let is_embedded = tokens.all(|&token| self.compute.embeds(&self.shape, token));
        let id = GroupId(self.next_group);
        self.next_group += 1;
        let realm = Realm { weights: adapter.as_ref().map(|&(id, _)| id), salt: group.cache_salt };
        self.groups.push_back(GroupState {
            id,
            prompt: group.prompt,
            is_embedded,
            stage: Stage::Queued,
            waiting,
            live: 0,
            path: prefix::Path::new(&realm),
            realm,
            adapter,
            shared_nodes: 0,
            cached_tokens: 0,
            prompt_pages_left: 0,
            sequence_pages,
            first_tokens,
            base_free: false,
            logits: Vec::new(),
            last_hidden: Vec::new(),
        });
        Ok(id)
    }

    pub(super) fn check_prompt(&self, prompt: &[u32]) -> Result<(), SubmitError> {
        if prompt.is_empty() {
            return Err(invalid("prompt", "it has no tokens"));
        }
        let vocabulary = self.tokens.len().min(self.shape.vocabulary);
        match prompt.iter().find(|&&token| token as usize >= vocabulary) {
            None => Ok(()),
            Some(token) => {
                Err(invalid("prompt", &format!("token {token} of a vocabulary of {vocabulary}")))
            }
        }
    }

    fn check_memory(&self, pages: usize) -> Result<(), SubmitError> {
        if pages <= self.store.most_pages() {
            return Ok(());
        }
        let (needed_tokens, room_tokens) = (pages * PAGE_TOKENS, self.room_tokens());
        Err(SubmitError::TooLarge { needed_tokens, room_tokens })
    }

    fn prepare(&mut self, sample: usize, spec: SampleSpec) -> Result<Waiting, SubmitError> {
        check_sampling(spec.sampling)?;
        if spec.max_tokens == 0 && spec.readout.is_none() && !spec.last_hidden {
            return Err(invalid(
                "max_tokens",
                "0, and neither read-out nor hidden state is wanted",
            ));
        }
        if self.scalar_head.is_some() && (spec.max_tokens > 0 || spec.readout.is_some()) {
            let why = "a scalar reward model draws no text: ask for the hidden state alone";
            return Err(invalid("max_tokens", why));
        }
        let readout = match spec.readout {
            None => None,
            Some(readout) => Some(Arc::new(self.tokenise_readout(readout)?)),
        };
        let SampleSpec { sampling, max_tokens, watch, last_hidden, ignores_end, .. } = spec;
        Ok(Waiting { sample, sampling, max_tokens, watch, readout, last_hidden, ignores_end })
    }

    fn tokenise_readout(&mut self, readout: Readout) -> Result<TokenisedReadout, SubmitError> {
        if readout.slots == 0 || readout.slots > self.context {
            return Err(invalid("readout.slots", &format!("{} slots", readout.slots)));
        }
        let distinct: HashSet<&String> = readout.choices.iter().collect();
        let empty = readout.choices.iter().any(String::is_empty);
        if readout.choices.is_empty() || empty || distinct.len() < readout.choices.len() {
            return Err(invalid("readout.choices", "they must be distinct and not empty"));
        }
        let (tokens, known) = (&self.tokens, &mut self.starting_with);
        let outputs = self.shape.outputs;
        let starting_with = |byte: u8| {
            let found = known.entry(byte);
            Arc::clone(found.or_insert_with(|| Arc::new(tokens.starting_with(byte, outputs))))
        };
        TokenisedReadout::new(readout, tokens, starting_with)
            .map_err(|error| invalid("readout", &error.to_string()))
    }
}

fn check_sampling(sampling: Sampling) -> Result<(), SubmitError> {
    if !sampling.temperature.is_finite() || sampling.temperature < 0.0 {
        return Err(invalid("temperature", &sampling.temperature.to_string()));
    }
    if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
        return Err(invalid("top_p", &sampling.top_p.to_string()));
    }
    Ok(())
}

fn invalid(field: &'static str, why: &str) -> SubmitError {
    SubmitError::Invalid { field, why: why.to_owned() }
}
