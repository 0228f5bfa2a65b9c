//! One decoding sample: its text, its own part of the cache, and how it handles the logits it gets.
//!
//! ```text
//! free text --(watch, end token or limit)--> opening --> slot, branches --> slot ... --> [last tokens] --> done
//!     \------------------(no read-out asked for)----------------------------------------/
//!
//! [last tokens]  computed only for a hidden state: otherwise the last token drawn or appended is never computed
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::SampleError;
use crate::event::{Finish, SampleOutput};
use crate::model::kv::{PAGE_TOKENS, PageId, Segment};
use crate::outputs::{Ask, Reader};
use crate::prompt_lookup::Drafts;
use crate::readout::{self, TokenisedReadout};
use crate::request::{GroupId, Look, Sampling, Watch};
use crate::tokens::{GeneratedText, Tokens};

/// A sample that is not decoding yet.
pub(crate) struct Waiting {
    pub(crate) sample: usize,
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: usize,
    pub(crate) watch: Box<dyn Watch>,
    pub(crate) readout: Option<Arc<TokenisedReadout>>,
    pub(crate) last_hidden: bool,
    pub(crate) ignores_end: bool,
}

/// A sample that is decoding.
pub(crate) struct Sequence {
    pub(crate) group: GroupId,
    pub(crate) spec: Waiting,
    /// Whether it uses the room that its group always reserves for one sample.
    pub(crate) on_base: bool,
    /// Whether it is removed at the next step.
    pub(crate) cancelled: bool,
    /// Whether the embeddings of all its tokens are finite; if not, nothing computed after them is.
    pub(crate) is_embedded: bool,
    /// Tokens to compute next, drafts last. The logits after the last one are wanted, and those before each draft.
    pub(crate) pending: Vec<u32>,
    pub(crate) cache: OwnCache,
    /// Free tokens drawn so far, the end token included.
    pub(crate) tokens: usize,
    /// The same tokens, without the end token.
    pub(crate) drawn: Vec<u32>,
    /// The end token, once it is drawn.
    end: Option<u32>,
    pub(crate) drafts: Drafts,
    /// Steps that compute rows of it and are not read yet, oldest first.
    flights: VecDeque<Rows>,
    text: GeneratedText,
    finish: Finish,
    run: Option<readout::Run>,
    /// Length of the cache where the current slot begins.
    slot_start: usize,
    /// Whether its text is complete and its last tokens are being computed for the hidden state after them.
    closes: bool,
    /// The hidden state after the whole text.
    last_hidden: Option<Vec<f32>>,
}

/// Keys and values of the tokens that a sample generated after its prompt.
#[derive(Debug, Default)]
pub(crate) struct OwnCache {
    pub(crate) pages: Vec<PageId>,
    pub(crate) tokens: usize,
}

/// The rows that an unread step computes for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Its pending tokens; the logits of the last one answer this question of the step.
    Pending(usize),
    /// The token that the previous step draws, not yet known; its logits answer this question.
    Ahead(usize),
    /// A token that turned out not to follow.
    Void,
}

/// What a sequence needs after it got its logits.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Compute `pending`.
    Feed,
    /// Read its next logits of this step: the token was a draft, and its row was computed.
    Next,
    /// The sequence has ended.
    Done,
    /// The sequence has failed.
    Failed(SampleError),
}

// === impl OwnCache ===

impl OwnCache {
    /// Page and slot of the next token; `None` if a page must be added first.
    pub(crate) fn next_slot(&self) -> Option<(PageId, usize)> {
        let page = self.pages.get(self.tokens / PAGE_TOKENS)?;
        Some((*page, self.tokens % PAGE_TOKENS))
    }

    /// The first `tokens` tokens.
    pub(crate) fn segments(&self, tokens: usize) -> Vec<Segment> {
        (0..tokens.div_ceil(PAGE_TOKENS))
            .map(|index| Segment {
                page: self.pages[index],
                tokens: PAGE_TOKENS.min(tokens - index * PAGE_TOKENS),
            })
            .collect()
    }
}

// === impl Sequence ===

impl Sequence {
    /// `text` must be empty and prepared for the answer.
    pub(crate) fn new(
        group: GroupId,
        spec: Waiting,
        on_base: bool,
        text: GeneratedText,
    ) -> Sequence {
        Sequence {
            group,
            spec,
            on_base,
            cancelled: false,
            is_embedded: true,
            pending: Vec::new(),
            cache: OwnCache::default(),
            tokens: 0,
            drawn: Vec::new(),
            end: None,
            drafts: Drafts::default(),
            flights: VecDeque::new(),
            text,
            finish: Finish::Limit,
            run: None,
            slot_start: 0,
            closes: false,
            last_hidden: None,
        }
    }

    /// Whether its next logits are for a free token.
    pub(crate) fn draws(&self) -> bool {
        self.run.is_none() && !self.closes && self.spec.max_tokens > 0
    }

    /// Whether an unread step computes rows of it.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Whether the newest such step computes a token that is not known yet.
    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self.flights.back(), Some(Rows::Ahead(_)))
    }

    /// Records that a step was launched with its pending tokens, whose logits answer this question of the step.
    pub(crate) fn launch_pending(&mut self, question: usize) {
        self.flights.push_back(Rows::Pending(question));
    }

    /// The question whose answer will be its next token, if a row may be computed for that token before it is known.
    /// Free text continues with it unless the text ends there, and then the row is discarded.
    pub(crate) fn next_ahead(&self) -> Option<usize> {
        let &[Rows::Pending(question) | Rows::Ahead(question)] = self.flights.as_slices().0 else {
            return None;
        };
        let goes_on = self.draws() && self.tokens + 1 < self.spec.max_tokens && !self.cancelled;
        goes_on.then_some(question)
    }

    /// Records that a step was launched with a row for its next token.
    pub(crate) fn launch_ahead(&mut self, question: usize) {
        self.flights.push_back(Rows::Ahead(question));
    }

    /// Records that the oldest step it waits for has been read; returns whether that step's answer counts.
    pub(crate) fn land(&mut self) -> bool {
        !matches!(self.flights.pop_front(), None | Some(Rows::Void))
    }

    /// If the next row was launched ahead: records that its token is now known to be the pending one, or that there is
    /// no such token.
    pub(crate) fn settle(&mut self, goes_on: bool) {
        let is_right = goes_on && self.draws() && self.pending.len() == 1;
        let Some(next) = self.flights.front_mut() else { return };
        if is_right {
            self.pending.clear();
            self.cache.tokens += 1;
        } else {
            *next = Rows::Void;
        }
    }

    /// Whether its free text has ended.
    pub(crate) fn is_past_free_text(&self) -> bool {
        self.run.is_some() || self.closes
    }

    /// What it will ask of its next logits; `drafts` is the number of drafts, or of tokens in flight, before them.
    pub(crate) fn ask(&self, drafts: usize) -> Ask {
        // Drafts, or the token that is on its way.
        let question = || Some(self.run.as_ref()?.question(self.spec.readout.as_ref()?).clone());
        match self.draws() {
            true => Ask::Token(self.spec.sampling, (self.tokens + drafts) as u64),
            false if self.closes => Ask::Hidden,
            false => question().map_or(Ask::Hidden, Ask::Masses),
        }
    }

    /// Handles logits that are not for a free token, with their hidden state.
    pub(crate) fn take_logits(&mut self, tokens: &Tokens, read: &mut Reader<'_>) -> Wish {
        match self.run {
            _ if !self.is_embedded => Wish::Failed(self.not_a_number()),
            _ if self.closes => self.close(read),
            Some(_) => self.take_slot_logits(read),
            None => self.end_free_text(tokens, read),
        }
    }

    /// Appends drafts of the next tokens to the pending ones.
    pub(crate) fn draft(&mut self, tokens: &[u32]) {
        self.pending.extend(tokens);
        self.drafts.put(tokens);
    }

    /// Takes a drawn free token. `read` has the logits that it was drawn from.
    pub(crate) fn take_token(
        &mut self,
        token: Option<u32>,
        tokens: &Tokens,
        read: &mut Reader<'_>,
    ) -> Wish {
        let Some(token) = token.filter(|_| self.is_embedded) else {
            return Wish::Failed(self.not_a_number());
        };
        self.tokens += 1;
        let is_accepted = self.drafts.take(token);
        if tokens.is_end(token) && !self.spec.ignores_end {
            self.finish = Finish::EndOfText;
            self.end = Some(token);
            self.cache.tokens -= self.drafts.give_up() + usize::from(is_accepted);
            return self.end_free_text(tokens, read);
        }
        self.drawn.push(token);
        self.text.push(tokens.bytes(token));
        let stops = self.spec.watch.look(self.text.as_str()) == Look::Stop;
        let ends = stops || self.tokens >= self.spec.max_tokens;
        if is_accepted && !ends {
            return Wish::Next;
        }
        // Cache entries after the tokens drawn so far are overwritten.
        self.cache.tokens -= self.drafts.give_up() + usize::from(is_accepted);
        self.pending.push(token);
        if !ends {
            return Wish::Feed;
        }
        self.finish = if stops { Finish::Stopped } else { Finish::Limit };
        self.end_free_text(tokens, read)
    }

    /// Starts the read-out, if there is one. `pending` holds the last token if it is not in the cache yet.
    fn end_free_text(&mut self, tokens: &Tokens, read: &mut Reader<'_>) -> Wish {
        let Some(readout) = self.spec.readout.clone() else {
            self.closes = self.spec.last_hidden;
            return match (self.closes, self.pending.is_empty()) {
                (false, _) => Wish::Done,
                (true, true) => self.close(read),
                (true, false) => Wish::Feed,
            };
        };
        let forced = self.finish == Finish::Limit;
        let (run, opening) = match readout.start(self.text.as_str(), forced, tokens) {
            Ok(started) => started,
            Err(error) => return Wish::Failed(SampleError::Internal(error.to_string())),
        };
        if opening.len() > readout.opening_room {
            return Wish::Failed(SampleError::ReadoutTooLong { tokens: opening.len() });
        }
        self.run = Some(run);
        self.pending.extend(opening);
        self.slot_start = self.cache.tokens + self.pending.len();
        // With nothing to append, the logits at hand are already those of the slot.
        if self.pending.is_empty() { self.take_slot_logits(read) } else { Wish::Feed }
    }

    /// Stores the hidden state after the whole text.
    fn close(&mut self, read: &mut Reader<'_>) -> Wish {
        let hidden = read.hidden();
        if !hidden.iter().all(|number| number.is_finite()) {
            return Wish::Failed(self.not_a_number());
        }
        self.last_hidden = Some(hidden.to_vec());
        Wish::Done
    }

    /// Handles the logits of a read-out's node.
    fn take_slot_logits(&mut self, read: &mut Reader<'_>) -> Wish {
        let (Some(run), Some(readout)) = (&mut self.run, &self.spec.readout) else {
            return Wish::Failed(SampleError::Internal("no read-out is under way".to_owned()));
        };
        let masses = read.masses(run.question(readout));
        match run.advance(readout, masses.as_deref(), self.spec.sampling) {
            readout::Next::Feed { new_slot, tokens } => {
                self.cache.tokens = self.slot_start;
                self.pending = tokens;
                if new_slot {
                    self.slot_start += self.pending.len();
                }
                Wish::Feed
            }
            readout::Next::Done { tokens } if self.spec.last_hidden => {
                self.cache.tokens = self.slot_start;
                self.pending = tokens;
                self.closes = true;
                Wish::Feed
            }
            readout::Next::Done { .. } => Wish::Done,
            readout::Next::NotANumber => Wish::Failed(self.not_a_number()),
        }
    }

    fn not_a_number(&self) -> SampleError {
        SampleError::NotANumber { tokens: self.tokens }
    }

    /// What the sample generated.
    pub(crate) fn output(self, cancelled: bool) -> SampleOutput {
        let mut text = self.text.finish();
        let free_text_bytes = text.len();
        let mut generated_tokens = self.tokens;
        let mut readout = None;
        if !cancelled && let Some(run) = self.run {
            let (appended, tokens, output) = run.finish();
            text.push_str(&appended);
            generated_tokens += tokens;
            readout = Some(output);
        }
        let finish = if cancelled { Finish::Cancelled } else { self.finish };
        let last_hidden = self.last_hidden.filter(|_| !cancelled);
        let end = self.end.filter(|_| !cancelled);
        let tokens = self.drawn;
        SampleOutput {
            text,
            tokens,
            end,
            free_text_bytes,
            generated_tokens,
            finish,
            readout,
            last_hidden,
        }
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("sample", &self.sample).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequence")
            .field("group", &self.group)
            .field("sample", &self.spec.sample)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}
