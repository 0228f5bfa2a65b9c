//! Passes over the training rows until the validation loss stops falling.

use jury_engine::head::{Network, Standardisation};

use super::adamw::AdamW;
use super::network::Fitting;
use super::report::EpochLoss;
use super::{LabelledState, MetaConfig, standardise};
use jury_grm::random::SplitMix64;

/// The network of the epoch with the lowest validation loss.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) network: Network,
    pub(super) curve: Vec<EpochLoss>,
    /// From 1.
    pub(super) best_epoch: usize,
}

/// Standardised rows with their weights.
struct Examples {
    inputs: Vec<Vec<f32>>,
    correct: Vec<bool>,
    /// Weights of correct and of wrong rows: each kind has half of the total weight.
    weights: [f64; 2],
}

/// Fits a network. Both parts have rows of both kinds.
pub(super) fn fit(
    train: &[&LabelledState],
    validation: &[&LabelledState],
    standardisation: &Standardisation,
    config: &MetaConfig,
    on_epoch: &mut dyn FnMut(&EpochLoss),
) -> Fitted {
    let train = Examples::of(train, standardisation);
    let validation = Examples::of(validation, standardisation);
    let mut fitting = Fitting::new(standardisation.mean.len(), config.inner, config.seed);
    let n_numbers = fitting.numbers.len();
    let mut adam = AdamW::new(n_numbers, config.learning_rate, config.weight_decay);
    let mut random = SplitMix64::for_purpose(config.seed, "order of rows");
    let mut order: Vec<usize> = (0..train.inputs.len()).collect();
    let mut curve: Vec<EpochLoss> = Vec::new();
    let (mut best, mut best_epoch) = (fitting.clone(), 0);
    let mut lowest = f64::INFINITY;
    for epoch in 1..=config.max_epochs {
        random.shuffle(&mut order);
        for batch in order.chunks(config.batch) {
            let gradient = train.gradient(&fitting, batch);
            let mut numbers = std::mem::take(&mut fitting.numbers);
            adam.step(&mut numbers, &gradient, |index| fitting.is_weight(index));
            fitting.numbers = numbers;
        }
        let losses =
            EpochLoss { epoch, train: train.loss(&fitting), validation: validation.loss(&fitting) };
        on_epoch(&losses);
        curve.push(losses);
        if losses.validation < lowest {
            (best, best_epoch, lowest) = (fitting.clone(), epoch, losses.validation);
        }
        if epoch - best_epoch >= config.patience {
            break;
        }
    }
    Fitted { network: best.to_network(), curve, best_epoch }
}

// === impl Examples ===

impl Examples {
    fn of(rows: &[&LabelledState], standardisation: &Standardisation) -> Self {
        let n_correct = rows.iter().filter(|row| row.correct).count();
        let share = |n: usize| rows.len() as f64 / (2.0 * n as f64);
        Self {
            inputs: rows
                .iter()
                .map(|row| standardise::apply(standardisation, &row.state))
                .collect(),
            correct: rows.iter().map(|row| row.correct).collect(),
            weights: [share(n_correct), share(rows.len() - n_correct)],
        }
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights[usize::from(!self.correct[row])]
    }

    /// Gradient of the mean loss over some rows.
    fn gradient(&self, fitting: &Fitting, rows: &[usize]) -> Vec<f64> {
        let mut gradient = vec![0.0; fitting.numbers.len()];
        for &row in rows {
            let inputs = &self.inputs[row];
            let error = sigmoid(fitting.output(inputs)) - f64::from(self.correct[row]);
            let slope = self.weight(row) * error / rows.len() as f64;
            fitting.add_gradient(inputs, slope, &mut gradient);
        }
        gradient
    }

    /// Binary cross-entropy in nats, with equal weight for both kinds: ln 2 for an uninformed head.
    fn loss(&self, fitting: &Fitting) -> f64 {
        let of_row = |row: usize| {
            let logit = fitting.output(&self.inputs[row]);
            self.weight(row) * cross_entropy(logit, self.correct[row])
        };
        (0..self.inputs.len()).map(of_row).sum::<f64>() / self.inputs.len() as f64
    }
}

pub(super) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-logit))
}

/// -ln of the probability that the logit assigns to the truth.
pub(super) fn cross_entropy(logit: f64, correct: bool) -> f64 {
    let against = if correct { -logit } else { logit };
    against.max(0.0) + libm::log1p(libm::exp(-against.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_is_the_logarithm_of_a_probability_and_never_overflows() {
        for logit in [-3.0, 0.0, 0.5] {
            let found = cross_entropy(logit, true);
            assert!((found + sigmoid(logit).ln()).abs() < 1e-12);
            assert!((cross_entropy(-logit, false) - found).abs() < 1e-12);
        }
        assert_eq!(cross_entropy(-1e9, true), 1e9);
        assert_eq!(cross_entropy(1e9, true), 0.0);
    }
}
