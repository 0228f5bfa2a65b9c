//! AdamW (Loshchilov and Hutter, 2019).

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Its state for a list of numbers.
#[derive(Debug)]
pub(super) struct AdamW {
    learning_rate: f64,
    weight_decay: f64,
    first: Vec<f64>,
    second: Vec<f64>,
    /// Powers of the decay factors.
    first_power: f64,
    second_power: f64,
}

// === impl AdamW ===

impl AdamW {
    pub(super) fn new(n_numbers: usize, learning_rate: f64, weight_decay: f64) -> Self {
        let (first, second) = (vec![0.0; n_numbers], vec![0.0; n_numbers]);
        Self { learning_rate, weight_decay, first, second, first_power: 1.0, second_power: 1.0 }
    }

    /// One step against `gradient`; weight decay applies only where `decays` says so.
    pub(super) fn step(
        &mut self,
        numbers: &mut [f64],
        gradient: &[f64],
        decays: impl Fn(usize) -> bool,
    ) {
        self.first_power *= FIRST_DECAY;
        self.second_power *= SECOND_DECAY;
        for (index, (number, &slope)) in numbers.iter_mut().zip(gradient).enumerate() {
            let first = &mut self.first[index];
            *first = FIRST_DECAY * *first + (1.0 - FIRST_DECAY) * slope;
            let second = &mut self.second[index];
            *second = SECOND_DECAY * *second + (1.0 - SECOND_DECAY) * slope * slope;
            let mean = *first / (1.0 - self.first_power);
            let spread = (*second / (1.0 - self.second_power)).sqrt();
            let decay = if decays(index) { self.weight_decay * *number } else { 0.0 };
            *number -= self.learning_rate * (mean / (spread + EPSILON) + decay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_lowest_point_of_a_bowl() {
        let mut at = [5.0, -3.0];
        let mut adam = AdamW::new(2, 0.05, 0.0);
        for _ in 0..2000 {
            let gradient = [2.0 * (at[0] - 1.0), 8.0 * (at[1] - 2.0)];
            adam.step(&mut at, &gradient, |_| true);
        }
        assert!((at[0] - 1.0).abs() < 1e-3 && (at[1] - 2.0).abs() < 1e-3, "{at:?}");
    }

    #[test]
    fn without_a_gradient_weights_decay_and_biases_stay() {
        let mut at = [1.0, 1.0];
        let mut adam = AdamW::new(2, 0.1, 0.5);
        adam.step(&mut at, &[0.0, 0.0], |index| index == 0);
        assert_eq!(at, [0.95, 1.0]);
    }
}
