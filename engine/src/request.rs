//! Requests to the engine: a group of samples that share one prompt.

use std::fmt;
use std::sync::Arc;

/// Samples that share one prompt; the prompt is computed and stored once.
#[derive(Debug)]
pub struct Group {
    /// Prompt tokens, as returned by [`crate::Engine::encode`].
    pub prompt: Vec<u32>,
    /// One entry per sample; events refer to a sample by its index here.
    pub samples: Vec<SampleSpec>,
    /// The prompt's computed beginning is shared only with prompts of an equal salt, so that response times reveal
    /// nothing about groups with other salts. Outputs do not depend on it.
    pub cache_salt: Option<Arc<str>>,
}

/// Identifies a submitted group. Ids are never reused during the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub(crate) u64);

/// One sample of a group.
pub struct SampleSpec {
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Upper bound of the free text, in tokens; the read-out is not counted.
    pub max_tokens: usize,
    /// Decides where the free text ends.
    pub watch: Box<dyn Watch>,
    /// Choices that the engine itself reads after the free text.
    pub readout: Option<Readout>,
    /// Whether to return [`crate::SampleOutput::last_hidden`], for a head outside the engine. It costs the sample one
    /// step, for the tokens that end its text. With it, `max_tokens` may be 0 without a read-out: the result is then
    /// just the state after the prompt.
    pub last_hidden: bool,
    /// Whether the model's end token is treated like any other, so that every sample draws `max_tokens` tokens: for
    /// measurements.
    pub ignores_end: bool,
}

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// At least 0; 0 is greedy (ties go to the lowest token id).
    pub temperature: f32,
    /// Keep the smallest set of most probable tokens whose total probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// The same seed draws the same text, whatever else is decoded at the same time.
    pub seed: u64,
}

/// Decides, after every token, whether the sample's free text has ended.
pub trait Watch: Send {
    /// `text` is all free text generated so far, complete characters only.
    fn look(&mut self, text: &str) -> Look;
}

/// What a [`Watch`] decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Keep decoding.
    Continue,
    /// The free text ends here.
    Stop,
}

/// A watch that never stops: the text ends at the model's end token or at its limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatch;

impl Watch for NoWatch {
    fn look(&mut self, _text: &str) -> Look {
        Look::Continue
    }
}

/// Returns the fixed text to append to a given free text.
pub type Opening = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Guided read-out: after the free text the engine appends `opening`, then reads `slots` choices from the model's
/// probabilities, with fixed text between them. Fixed text is appended, never sampled.
#[derive(Clone)]
pub struct Readout {
    /// Given the free text, returns the text to append before the first slot.
    pub opening: Opening,
    /// Number of choices to read; at least 1.
    pub slots: usize,
    /// The legal strings of a slot, distinct and not empty; one may be a prefix of another.
    pub choices: Vec<String>,
    /// Text between two slots.
    pub separator: String,
    /// Text after the last slot.
    pub closing: String,
    /// How a slot's choice is taken from its distribution.
    pub mode: ReadoutMode,
}

/// How a slot's choice is taken from its distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadoutMode {
    /// Drawn with the sample's temperature and top-p.
    Sampled,
    /// The most probable choice; the caller can compute the mean from the distribution.
    Expected,
}

// === impl SampleSpec ===

impl SampleSpec {
    /// A sample without text, which returns only the hidden state after its prompt.
    pub fn state_alone() -> SampleSpec {
        SampleSpec {
            sampling: Sampling { temperature: 0.0, top_p: 1.0, seed: 0 },
            max_tokens: 0,
            watch: Box::new(NoWatch),
            readout: None,
            last_hidden: true,
            ignores_end: false,
        }
    }
}

impl fmt::Debug for SampleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SampleSpec")
            .field("sampling", &self.sampling)
            .field("max_tokens", &self.max_tokens)
            .field("readout", &self.readout)
            .field("last_hidden", &self.last_hidden)
            .field("ignores_end", &self.ignores_end)
            .finish_non_exhaustive()
    }
}

// === impl Readout ===

impl fmt::Debug for Readout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readout")
            .field("slots", &self.slots)
            .field("choices", &self.choices)
            .field("separator", &self.separator)
            .field("closing", &self.closing)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
