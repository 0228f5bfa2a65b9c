//! Whether a request can be answered within its budget, estimated from how long samples of its model took lately.
//! Pure.
//!
//! ```text
//! expected = waiting samples / places x seconds per sample        behind others
//!          + ceil(min_samples / places) x seconds per sample      its own
//! ```
//!
//! The estimate is optimistic: running samples count as done, prompts cost nothing, and places are those that
//! admission grants, which are more than the workers have. A request is rejected only after enough samples have been
//! seen, and only if it is expected to take more than twice the time it has left.

use std::time::Duration;

use super::cost::{Prompted, Ratio, Work};

/// Samples after which earlier samples have lost half of their weight.
const HALF_LIFE: f64 = 256.0;
/// Samples that must have been seen before anything is forecast.
const ENOUGH_SEEN: f64 = 16.0;
/// A request is rejected if its forecast exceeds its remaining time by this factor.
const UNSURE: u32 = 2;

/// Samples that ran to their own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// Number of samples.
    pub samples: u32,
    /// Their tokens, in total.
    pub tokens: u64,
    /// Their times added up, each from when its worker accepted it until its end.
    pub time: Duration,
    /// Prompts that workers accepted for them.
    pub prompted: Prompted,
}

/// How long samples of one model took lately. Older samples count less.
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
    /// Most tokens per critique.
    pub max_tokens: u32,
    /// Time left for the answer.
    pub left: Duration,
}

/// A model's queue as seen by a request that joins it.
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
    /// Time behind other requests.
    pub wait: Duration,
    /// Time until `min_samples` of its own are drawn.
    pub draw: Duration,
}

/// What the forecast means for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// It may be answered in time, or nothing is known.
    Open,
    /// It could be answered in time if fewer samples were waiting.
    Crowded(Forecast),
    /// Its budget is too short for its own samples.
    Hopeless(Forecast),
}

// === impl Rates ===

impl Rates {
    /// Records samples that were drawn.
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

    /// The expected time of a sample of at most `max_tokens`; `None` before enough samples were seen.
    pub fn of_sample(&self, max_tokens: u32) -> Option<Duration> {
        if self.samples < ENOUGH_SEEN {
            return None;
        }
        let shorter = (f64::from(max_tokens) * self.samples / self.tokens.max(1.0)).min(1.0);
        Duration::try_from_secs_f64(self.seconds / self.samples * shorter).ok()
    }

    /// The outlook for a request that joins `line` now.
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
