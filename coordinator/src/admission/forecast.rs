//! Whether a request can be answered within its budget, by how long samples of its model took
//! lately: pure.
//!
//! ```text
//! expected = waiting samples / places x seconds a sample        behind others
//!          + ceil(min_samples / places) x seconds a sample      its own
//! ```
//!
//! An expectation, and a hopeful one: what runs already counts as done, prompts cost nothing, and
//! places are those that admission grants, more than workers have. Nothing is refused before
//! enough samples were seen, or unless twice the time that is left is expected to be too short.

use std::time::Duration;

use super::cost::{Prompted, Ratio, Work};

/// Samples after which half of the weight of what was seen before is gone.
const HALF_LIFE: f64 = 256.0;
/// Samples that must have been seen before anything is expected.
const ENOUGH_SEEN: f64 = 16.0;
/// How many times longer than its budget a refused request is expected to take.
const UNSURE: u32 = 2;

/// Samples that came to their own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// How many.
    pub samples: u32,
    /// Tokens of them all.
    pub tokens: u64,
    /// Their times added up, each from when its worker accepted it to its end.
    pub time: Duration,
    /// Prompts that workers accepted for them.
    pub prompted: Prompted,
}

/// How long samples of one model took lately. Older ones count less.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    samples: f64,
    tokens: f64,
    seconds: f64,
    ratio: Ratio,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Samples.
    pub samples: u32,
    /// Fewest samples that make a verdict.
    pub min_samples: u32,
    /// Most tokens of a sample's critique.
    pub max_tokens: u32,
    /// Time left for the answer.
    pub left: Duration,
}

/// What a model's line looks like to whoever joins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Samples that may run at once.
    pub places: u32,
    /// Samples that are expected to go first.
    pub waiting_samples: u32,
}

/// How long a request is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Behind others.
    pub wait: Duration,
    /// Until `min_samples` of its own are drawn.
    pub draw: Duration,
}

/// What becomes of a request by its forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// It may be answered in time, or nobody knows.
    Open,
    /// It could be answered in time if less were waiting.
    Crowded(Forecast),
    /// Its budget is too short for its own samples.
    Hopeless(Forecast),
}

// === impl Rates ===

impl Rates {
    /// Takes in samples that were drawn.
    pub fn record(&mut self, drawn: Drawn) {
        let n = f64::from(drawn.samples);
        let kept = 0.5_f64.powf(n / HALF_LIFE);
        self.samples = self.samples * kept + n;
        self.tokens = self.tokens * kept + drawn.tokens as f64;
        self.seconds = self.seconds * kept + drawn.time.as_secs_f64();
        self.ratio.record(drawn.prompted);
    }

    /// The tokens that `work` is expected to take.
    pub fn tokens_of(&self, work: Work) -> u64 {
        let sample_tokens = (self.samples >= ENOUGH_SEEN).then(|| self.tokens / self.samples);
        work.tokens(&self.ratio, sample_tokens)
    }

    /// The time that a sample of at most `max_tokens` is expected to take; `None` before enough
    /// were seen.
    pub fn of_sample(&self, max_tokens: u32) -> Option<Duration> {
        if self.samples < ENOUGH_SEEN {
            return None;
        }
        let shorter = (f64::from(max_tokens) * self.samples / self.tokens.max(1.0)).min(1.0);
        Duration::try_from_secs_f64(self.seconds / self.samples * shorter).ok()
    }

    /// What becomes of a request that joins `line` now.
    pub fn outlook(&self, ask: Ask, line: Line) -> Outlook {
        let Some(a_sample) = self.of_sample(ask.max_tokens) else { return Outlook::Open };
        let places = line.places.max(1);
        let forecast = Forecast {
            wait: a_sample.mul_f64(f64::from(line.waiting_samples) / f64::from(places)),
            draw: a_sample.saturating_mul(ask.min_samples.div_ceil(places)),
        };
        let unsure = ask.left.saturating_mul(UNSURE);
        if forecast.draw > unsure {
            Outlook::Hopeless(forecast)
        } else if forecast.wait + forecast.draw > unsure {
            Outlook::Crowded(forecast)
        } else {
            Outlook::Open
        }
    }
}

#[cfg(test)]
mod tests;
