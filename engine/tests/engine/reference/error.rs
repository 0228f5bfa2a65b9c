//! The effect of rounding on an implementation's next-token distributions, relative to exact weights.

use std::fmt;

use crate::distance::{divergence, top_two};

struct Position {
    divergence: f64,
    /// In the reference: log-probability of its choice minus that of its runner-up.
    lead: f64,
    /// The implementation's value of that lead minus the reference's.
    lead_error: f64,
    /// What the implementation's choice loses, in nats of the reference; 0 for the same choice.
    loss: f64,
}

/// Over all positions that were added.
#[derive(Default)]
pub struct Error(Vec<Position>);

impl Error {
    /// Adds a position by its log-probabilities.
    pub fn add(&mut self, truth: &[f64], found: &[f64]) {
        let ([first, second], [choice, _]) = (top_two(truth), top_two(found));
        let lead = truth[first] - truth[second];
        self.0.push(Position {
            divergence: divergence(truth, found),
            lead,
            lead_error: found[first] - found[second] - lead,
            loss: truth[first] - truth[choice],
        });
    }

    pub fn mean_divergence(&self) -> f64 {
        self.mean(|position| position.divergence)
    }

    pub fn worst_divergence(&self) -> f64 {
        self.worst(|position| position.divergence)
    }

    /// Root mean square.
    pub fn lead_error(&self) -> f64 {
        self.mean(|position| position.lead_error.powi(2)).sqrt()
    }

    pub fn worst_loss(&self) -> f64 {
        self.worst(|position| position.loss)
    }

    /// Share of positions where the reference's lead is larger.
    pub fn share_led_by(&self, margin: f64) -> f64 {
        self.mean(|position| f64::from(u8::from(position.lead > margin)))
    }

    fn same_choice(&self) -> f64 {
        self.mean(|position| f64::from(u8::from(position.loss == 0.0)))
    }

    fn mean(&self, figure: impl Fn(&Position) -> f64) -> f64 {
        self.0.iter().map(figure).sum::<f64>() / self.0.len() as f64
    }

    fn worst(&self, figure: impl Fn(&Position) -> f64) -> f64 {
        self.0.iter().map(figure).fold(0.0, f64::max)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KL mean {:.5}, worst {:.4}; error of the lead {:.3}; same choice {:.3}, worst loss {:.3}",
            self.mean_divergence(),
            self.worst_divergence(),
            self.lead_error(),
            self.same_choice(),
            self.worst_loss(),
        )
    }
}
