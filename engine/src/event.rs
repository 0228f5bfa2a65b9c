//! What the engine reports while it works.

use serde::Serialize;

use crate::error::SampleError;
use crate::request::GroupId;

/// Something that happened in a step. Events of one sample are in order.
#[derive(Debug)]
pub enum Event {
    /// The group's prompt is in the cache; its samples may now decode.
    Prefilled {
        /// Which group.
        group: GroupId,
        /// Length of the prompt.
        prompt_tokens: usize,
        /// Tokens of it that an earlier group had already computed and cached.
        cached_tokens: usize,
    },
    /// A sample has grown (reported every 16 tokens).
    Progress {
        /// Which group.
        group: GroupId,
        /// Index of the sample in its group.
        sample: usize,
        /// Free tokens generated so far.
        tokens: usize,
    },
    /// A sample ended or was cancelled; its slot in the batch is free.
    Finished {
        /// Which group.
        group: GroupId,
        /// Index of the sample in its group.
        sample: usize,
        /// What it generated.
        output: SampleOutput,
    },
    /// A sample failed; its slot in the batch is free.
    Failed {
        /// Which group.
        group: GroupId,
        /// Index of the sample in its group.
        sample: usize,
        /// Why.
        error: SampleError,
    },
}

/// What a sample generated.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleOutput {
    /// Free text, opening and read-out text, in this order.
    pub text: String,
    /// The free text's tokens as drawn, without the end token. Together with `end` they are what a policy gradient
    /// applies to, since where a text ends was drawn as well.
    pub tokens: Vec<u32>,
    /// The end token, which has no text; `None` unless it ended the free text.
    pub end: Option<u32>,
    /// Length of the free text within `text`.
    pub free_text_bytes: usize,
    /// Tokens chosen by the model: free tokens (including the end token) and those of the read-out choices.
    pub generated_tokens: usize,
    /// Why the free text ended.
    pub finish: Finish,
    /// The choices read, if a read-out was requested and the sample was not cancelled.
    pub readout: Option<ReadoutOutput>,
    /// The hidden state after all of `text`, if it was requested and the sample was not cancelled: the residual stream
    /// after the last norm, [`crate::ModelInfo::embedding_length`] numbers, whose product with the head gives the
    /// logits of the next token. It belongs to the last token of the read-out's closing text; without a read-out, to
    /// the last free token (not the end token); with neither, to the prompt's last token.
    pub last_hidden: Option<Vec<f32>>,
}

/// Why a sample's free text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The [`crate::Watch`] stopped it.
    Stopped,
    /// The model wrote its end token.
    EndOfText,
    /// `max_tokens` was reached.
    Limit,
    /// The caller cancelled the sample; `text` is what had been generated.
    Cancelled,
}

/// The result of a guided read-out.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadoutOutput {
    /// For each slot, the index of its choice: drawn (`Sampled`) or most probable (`Expected`, ties go to the lowest
    /// index).
    pub choices: Vec<usize>,
    /// Slots x choices: probability at temperature 1, before top-p, renormalised over the slot's legal strings, given
    /// the choices already taken.
    pub distributions: Vec<Vec<f64>>,
    /// The lowest probability, over the slots, that the model itself gave to the set of legal strings; 0 to 1. A
    /// string's probability is the product of its tokens', times that of its terminator if another choice continues it.
    pub mass: f64,
    /// The free text was cut at `max_tokens` rather than ended by the watch or the model.
    pub forced: bool,
}

/// Totals since the engine was loaded; values never decrease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Steps that had something to do. While samples wait or decode it grows with every step.
    pub steps: u64,
    /// Groups whose prompt became ready.
    pub prefills: u64,
    /// Prompt tokens computed.
    pub prefill_tokens: u64,
    /// Groups that found a part of their prompt in the cache.
    pub prefix_hits: u64,
    /// Prompt tokens taken from the cache instead of computed.
    pub cached_tokens: u64,
    /// Steps in which at least one sample decoded.
    pub decode_steps: u64,
    /// Free tokens decoded.
    pub decode_tokens: u64,
    /// Drafted free tokens that were computed.
    pub drafted_tokens: u64,
    /// Drafted tokens that were accepted: free tokens that needed no step of their own.
    pub accepted_tokens: u64,
    /// Tokens computed after free texts: for read-outs (fixed text, branches and choices) and for hidden states.
    pub readout_tokens: u64,
    /// Samples finished, including cancelled ones.
    pub finished_samples: u64,
    /// Samples cancelled.
    pub cancelled_samples: u64,
}
