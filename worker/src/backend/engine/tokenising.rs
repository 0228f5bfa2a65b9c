//! Turns a new group into one that the engine accepts. Runs on separate threads: a long prompt takes seconds, and the
//! samples in flight must continue in the meantime.

use std::sync::mpsc::{SyncSender, TrySendError};

use jury_engine::{AdapterId, Prompt, PromptError, Tokenizer};
use jury_grm::domain::{FailureKind, SampleSpec};
use jury_grm::parse::Begins;
use jury_proto::convert::SampleGroup;

use super::caller::Caller;
use super::in_order::{InOrder, Limits, Stage};
use super::thread::Message;
use super::{RETRY_AFTER, translate};
use crate::reading::{Reader, longest_response};

/// Enough for the prompts behind a very long one to be ready when it is; the other cores belong to the model.
const THREADS: usize = 2;

/// Tokens of a read-out in addition to those of the critique, before and for each score. More than any vocabulary
/// needs, so that whenever the engine finds a prompt too long, its responses have been counted.
const READOUT_TOKENS: usize = 64;
const READOUT_TOKENS_PER_SCORE: usize = 8;

/// Maximum text that may wait to be tokenised: sixteen of the largest prompts.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// The threads that tokenise.
pub(super) type Tokenising = InOrder<Tokenise>;

/// A group as received.
pub(super) struct NewGroup {
    pub(super) group: SampleGroup,
    pub(super) adapter: Option<AdapterId>,
    pub(super) caller: Caller,
}

/// A group without its text.
pub(super) struct TokenisedGroup {
    pub(super) samples: Vec<SampleSpec>,
    pub(super) adapter: Option<AdapterId>,
    pub(super) reader: Reader,
    /// Whether samples include their hidden states.
    pub(super) hidden_states: bool,
    pub(super) cache_salt: Option<String>,
    pub(super) prompt: Vec<u32>,
    /// The longest response, by the caller's index, and its tokens; counted only if the prompt may be too long.
    pub(super) longest: Option<(usize, usize)>,
    pub(super) caller: Caller,
}

/// What the tokenising threads share.
pub(super) struct Tokenise {
    text: Box<dyn CountsTokens>,
    context: usize,
    mailbox: SyncSender<Message>,
}

/// A tokenizer; tests substitute one that waits.
pub(super) trait CountsTokens: Send + Sync + 'static {
    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError>;
    fn answer_opening(&self, prompt: &Prompt) -> Result<String, PromptError>;
    fn count(&self, text: &str) -> usize;
}

/// Starts the threads. Tokenised groups go to the mailbox in the order in which the groups arrived.
pub(super) fn start(
    text: Box<dyn CountsTokens>,
    context: usize,
    mailbox: SyncSender<Message>,
    max_groups: usize,
) -> std::io::Result<Tokenising> {
    let stage = Tokenise { text, context, mailbox };
    let limits = Limits { inputs: max_groups, bytes: MAX_TEXT_BYTES };
    InOrder::start("jury-tokenise", THREADS, limits, stage)
}

// === impl Tokenise ===

impl Tokenise {
    fn may_be_too_long(&self, group: &SampleGroup, prompt_tokens: usize) -> bool {
        let critique = group.settings.max_critique_tokens as usize;
        let readout = READOUT_TOKENS + READOUT_TOKENS_PER_SCORE * group.order().len();
        prompt_tokens + critique + readout > self.context
    }
}

impl Stage for Tokenise {
    type In = NewGroup;
    type Out = TokenisedGroup;

    fn bytes(new_group: &NewGroup) -> usize {
        let spans = new_group.group.messages.iter().flat_map(|message| &message.spans);
        spans.map(|span| span.text.len()).sum()
    }

    fn work(&self, mut new_group: NewGroup) -> Option<TokenisedGroup> {
        if !new_group.caller.wants_any() {
            return None;
        }
        let NewGroup { group, adapter, caller } = new_group;
        let conversation = translate::prompt(&group.messages);
        let opened = || self.text.answer_opening(&conversation);
        let encoded = self.text.encode(&conversation).and_then(|prompt| Ok((prompt, opened()?)));
        let (prompt, opening) = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                caller.events.fail_all(FailureKind::Worker, &error.to_string());
                return None;
            }
        };
        let longest = match self.may_be_too_long(&group, prompt.len()) {
            true => longest_response(&group.messages, |text| self.text.count(text)),
            false => None,
        };
        let reader = Reader::new(&group.messages, group.order().len(), &group.settings)
            .beginning(Begins::after(&opening));
        let SampleGroup { samples, hidden_states, cache_salt, .. } = group;
        Some(TokenisedGroup {
            samples,
            adapter,
            reader,
            hidden_states,
            cache_salt,
            prompt,
            longest,
            caller,
        })
    }

    fn deliver(&self, mut group: TokenisedGroup) {
        if !group.caller.wants_any() {
            return;
        }
        // If the thread is dead, dropping the group's events fails its samples.
        let sent = self.mailbox.try_send(Message::Start(Box::new(group)));
        if let Err(TrySendError::Full(Message::Start(group))) = sent {
            group.caller.events.busy(RETRY_AFTER);
        }
    }
}

// === impl CountsTokens ===

impl CountsTokens for Tokenizer {
    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, PromptError> {
        Tokenizer::encode(self, prompt)
    }

    fn answer_opening(&self, prompt: &Prompt) -> Result<String, PromptError> {
        Tokenizer::answer_opening(self, prompt)
    }

    fn count(&self, text: &str) -> usize {
        Tokenizer::count(self, text)
    }
}
