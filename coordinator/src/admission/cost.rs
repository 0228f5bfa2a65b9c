//! The expected cost of a request, in tokens. Pure.
//!
//! ```text
//! tokens = distinct prompts x (text shown + template) x tokens per byte     prefill
//!        + k x tokens per sample, at most max_critique_tokens               decode
//! ```
//!
//! The coordinator has no tokenizer. It learns tokens per byte from the prompt lengths that workers report on
//! accepting a prompt, and tokens per sample from the samples they drew, both per model. Before anything is known, a
//! byte counts as a quarter of a token, and a sample as `max_critique_tokens`. Not included: retried samples, spare
//! samples, and the work of a separate Meta RM.

use jury_grm::domain::ScoreRequest;
use jury_grm::plan::{Extent, extent};

/// Prompts that workers have accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prompted {
    /// Their bytes, in total.
    pub bytes: u64,
    /// Their tokens, in total.
    pub tokens: u64,
}

/// The work that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Bytes of all distinct prompts.
    pub prompt_bytes: u64,
    /// Samples.
    pub samples: u32,
    /// Most tokens per critique.
    pub max_tokens: u32,
}

/// Tokens per byte before any are known: English in most tokenizers.
const UNKNOWN_TOKENS_A_BYTE: f64 = 0.25;
/// Bytes after which earlier prompts have lost half of their weight: a few hundred prompts of 16 KiB.
const HALF_LIFE_BYTES: f64 = (4 << 20) as f64;

/// Tokens per byte, as learned. Older prompts count less.
#[derive(Debug, Clone, Default)]
pub struct Ratio {
    bytes: f64,
    tokens: f64,
}

// === impl Work ===

impl Work {
    /// What `request` asks for, with a template of `template_bytes`.
    pub fn of(request: &ScoreRequest, template_bytes: usize) -> Self {
        let Extent { n_prompts, n_samples, n_shown, shown_bytes, panel } = extent(request);
        let responses: usize = request.item.responses.iter().map(String::len).sum();
        let around = request.item.text_bytes() - responses;
        // Each panel shows only its part of the responses; no panel shows a duplicate.
        let shown = (shown_bytes * u64::from(panel)).div_ceil(u64::from(n_shown.max(1)));
        let a_prompt = around as u64 + template_bytes as u64 + shown;
        Self {
            prompt_bytes: a_prompt.saturating_mul(n_prompts.into()),
            samples: n_samples,
            max_tokens: request.settings.max_critique_tokens,
        }
    }

    /// The expected tokens, at `ratio` tokens per byte and `sample_tokens` per sample, if known.
    pub fn tokens(&self, ratio: &Ratio, sample_tokens: Option<f64>) -> u64 {
        let most = f64::from(self.max_tokens);
        let decode = f64::from(self.samples) * sample_tokens.unwrap_or(most).min(most);
        (self.prompt_bytes as f64 * ratio.tokens_a_byte() + decode).ceil() as u64
    }
}

// === impl Ratio ===

impl Ratio {
    /// Records prompts that were tokenised.
    pub fn record(&mut self, prompted: Prompted) {
        // A worker that does not report tokens teaches nothing.
        if prompted.bytes == 0 || prompted.tokens == 0 {
            return;
        }
        let kept = 0.5_f64.powf(prompted.bytes as f64 / HALF_LIFE_BYTES);
        self.bytes = self.bytes * kept + prompted.bytes as f64;
        self.tokens = self.tokens * kept + prompted.tokens as f64;
    }

    /// Expected tokens per byte of a prompt.
    pub fn tokens_a_byte(&self) -> f64 {
        if self.bytes > 0.0 { self.tokens / self.bytes } else { UNKNOWN_TOKENS_A_BYTE }
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{Item, Query};

    use super::*;

    fn request(responses: &[&str], k: u32) -> ScoreRequest {
        let responses = responses.iter().map(|text| (*text).to_owned()).collect();
        let mut request = ScoreRequest::new(Item::bare(Query::Text("12345".to_owned()), responses));
        request.settings.k = k;
        request.settings.max_critique_tokens = 1000;
        request
    }

    #[test]
    fn a_prompt_is_paid_once_an_order_and_a_sample_once_each() {
        let work = Work::of(&request(&["1234567890", "0123456789"], 8), 100);
        assert_eq!((work.prompt_bytes, work.samples), (2 * 125, 8), "two orders");
        let alone = Work::of(&request(&["1234567890", "0123456789"], 1), 100);
        assert_eq!(alone.prompt_bytes, 125);
        let repeated = Work::of(&request(&["1234567890", "1234567890"], 8), 100);
        assert_eq!(repeated.prompt_bytes, 115, "a duplicate is not shown");
        let mut in_panels = request(&[], 8);
        in_panels.item.responses = (0..10).map(|n| format!("{n:010}")).collect();
        in_panels.settings.max_panel = 5;
        assert_eq!(Work::of(&in_panels, 100).prompt_bytes, 8 * 155, "panels are drawn anew");
    }

    #[test]
    fn before_anything_is_known_a_sample_takes_all_that_it_may() {
        let work = Work { prompt_bytes: 4000, samples: 8, max_tokens: 1000 };
        assert_eq!(work.tokens(&Ratio::default(), None), 1000 + 8000);
    }

    #[test]
    fn what_was_learned_takes_the_place_of_what_was_guessed() {
        let mut ratio = Ratio::default();
        ratio.record(Prompted { bytes: 1000, tokens: 500 });
        ratio.record(Prompted { bytes: 0, tokens: 0 });
        let work = Work { prompt_bytes: 4000, samples: 8, max_tokens: 1000 };
        assert_eq!(work.tokens(&ratio, Some(100.0)), 2000 + 800);
        assert_eq!(
            work.tokens(&ratio, Some(9000.0)),
            2000 + 8000,
            "no sample takes more than it may"
        );
        for _ in 0..100 {
            ratio.record(Prompted { bytes: 1 << 20, tokens: 1 << 18 });
        }
        assert!((ratio.tokens_a_byte() - 0.25).abs() < 1e-3, "older prompts are forgotten");
    }
}
