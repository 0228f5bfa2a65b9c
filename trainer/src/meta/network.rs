//! The network while it is being fitted: one list of numbers, its output and its gradient.

use jury_engine::head::Network;

use jury_grm::random::SplitMix64;

/// Weights and biases in one list: without an inner layer `width` weights and a bias, else inner x width weights, inner
/// biases, inner weights and a bias.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fitting {
    width: usize,
    /// 0: linear.
    inner: usize,
    pub(super) numbers: Vec<f64>,
}

// === impl Fitting ===

impl Fitting {
    /// A linear network starts at 0; an inner layer starts with uniform weights of variance 2 / inputs (He et al.,
    /// 2015).
    pub(super) fn new(width: usize, inner: usize, seed: u64) -> Self {
        let numbers = match inner {
            0 => vec![0.0; width + 1],
            _ => {
                let mut random = SplitMix64::for_purpose(seed, "first weights");
                let mut uniform =
                    |inputs: usize| (2.0 * random.uniform() - 1.0) * (6.0 / inputs as f64).sqrt();
                let mut numbers: Vec<f64> = (0..inner * width).map(|_| uniform(width)).collect();
                numbers.extend((0..inner).map(|_| 0.0));
                numbers.extend((0..inner).map(|_| uniform(inner)));
                numbers.push(0.0);
                numbers
            }
        };
        Self { width, inner, numbers }
    }

    /// Which numbers are weights; the others are biases.
    pub(super) fn is_weight(&self, index: usize) -> bool {
        match self.inner {
            0 => index < self.width,
            inner => {
                let biases = inner * self.width;
                index < biases || (biases + inner..biases + 2 * inner).contains(&index)
            }
        }
    }

    /// The raw logit of standardised inputs.
    pub(super) fn output(&self, inputs: &[f32]) -> f64 {
        let Some(layers) = self.layers() else {
            return dot(&self.numbers[..self.width], inputs) + self.numbers[self.width];
        };
        let inner =
            (0..self.inner).map(|index| layers.weights[index] * layers.inner(index, inputs));
        inner.sum::<f64>() + layers.bias
    }

    /// Adds `slope` times the gradient of the output to `gradient`.
    pub(super) fn add_gradient(&self, inputs: &[f32], slope: f64, gradient: &mut [f64]) {
        let Some(layers) = self.layers() else {
            add_scaled(&mut gradient[..self.width], inputs, slope);
            gradient[self.width] += slope;
            return;
        };
        let (inner_weights, rest) = gradient.split_at_mut(self.inner * self.width);
        let (inner_biases, rest) = rest.split_at_mut(self.inner);
        for index in 0..self.inner {
            let value = layers.inner(index, inputs);
            rest[index] += slope * value;
            if value > 0.0 {
                let slope = slope * layers.weights[index];
                inner_biases[index] += slope;
                let row = &mut inner_weights[index * self.width..][..self.width];
                add_scaled(row, inputs, slope);
            }
        }
        rest[self.inner] += slope;
    }

    /// The network in the form that a head stores.
    pub(super) fn to_network(&self) -> Network {
        let round = |numbers: &[f64]| numbers.iter().map(|&number| number as f32).collect();
        match self.layers() {
            None => Network::Linear {
                weights: round(&self.numbers[..self.width]),
                bias: self.numbers[self.width] as f32,
            },
            Some(layers) => Network::Mlp {
                inner_weights: round(layers.inner_weights),
                inner_bias: round(layers.inner_biases),
                weights: round(layers.weights),
                bias: layers.bias as f32,
            },
        }
    }

    fn layers(&self) -> Option<Layers<'_>> {
        if self.inner == 0 {
            return None;
        }
        let (inner_weights, rest) = self.numbers.split_at(self.inner * self.width);
        let (inner_biases, rest) = rest.split_at(self.inner);
        let (weights, bias) = rest.split_at(self.inner);
        Some(Layers { width: self.width, inner_weights, inner_biases, weights, bias: bias[0] })
    }
}

/// The parts of a network with an inner layer.
struct Layers<'a> {
    width: usize,
    inner_weights: &'a [f64],
    inner_biases: &'a [f64],
    weights: &'a [f64],
    bias: f64,
}

// === impl Layers ===

impl Layers<'_> {
    /// An activation of the inner layer, after ReLU.
    fn inner(&self, index: usize, inputs: &[f32]) -> f64 {
        let weights = &self.inner_weights[index * self.width..][..self.width];
        (dot(weights, inputs) + self.inner_biases[index]).max(0.0)
    }
}

/// Uses eight accumulators, which a compiler turns into vectors; the order of the sums is still fixed.
fn dot(weights: &[f64], inputs: &[f32]) -> f64 {
    let mut strands = [0.0; 8];
    let (weights, weights_left) = weights.as_chunks::<8>();
    let (inputs, inputs_left) = inputs.as_chunks::<8>();
    for (weights, inputs) in weights.iter().zip(inputs) {
        for (strand, (weight, &input)) in strands.iter_mut().zip(weights.iter().zip(inputs)) {
            *strand += weight * f64::from(input);
        }
    }
    let left =
        weights_left.iter().zip(inputs_left).map(|(weight, &input)| weight * f64::from(input));
    strands.iter().sum::<f64>() + left.sum::<f64>()
}

fn add_scaled(sums: &mut [f64], inputs: &[f32], scale: f64) {
    for (sum, &input) in sums.iter_mut().zip(inputs) {
        *sum += scale * f64::from(input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_small_steps() {
        let inputs: Vec<f32> = (0..11).map(|index| (index as f32 * 0.7).sin()).collect();
        for inner in [0, 3] {
            let mut fitting = Fitting::new(11, inner, 5);
            let mut random = SplitMix64::for_purpose(6, "");
            fitting.numbers.iter_mut().for_each(|number| *number += random.uniform() - 0.5);
            let mut gradient = vec![0.0; fitting.numbers.len()];
            fitting.add_gradient(&inputs, 2.0, &mut gradient);
            for (index, found) in gradient.iter().enumerate() {
                let step = 1e-6;
                let mut higher = fitting.clone();
                higher.numbers[index] += step;
                let slope = 2.0 * (higher.output(&inputs) - fitting.output(&inputs)) / step;
                assert!((slope - found).abs() < 1e-5, "{inner}: {index}");
            }
        }
    }

    #[test]
    fn weights_and_biases_are_told_apart() {
        let weights = |width, inner| {
            let fitting = Fitting::new(width, inner, 0);
            (0..fitting.numbers.len()).map(|index| fitting.is_weight(index)).collect::<Vec<_>>()
        };
        assert_eq!(weights(2, 0), [true, true, false]);
        let mlp = [[true; 4].as_slice(), &[false; 2], &[true; 2], &[false]].concat();
        assert_eq!(weights(2, 2), mlp);
    }
}
