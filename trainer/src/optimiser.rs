//! AdamW (Loshchilov and Hutter, 2019) with warm-up and cosine schedule, and gradients clipped by norm.

use candle_core::{Device, Tensor};

use crate::error::TuneError;
use crate::model::{Gradients, Model};

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Settings.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OptimiserConfig {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps over which it grows linearly from 0.
    pub warmup: u64,
    /// Total number of steps: after the warm-up the rate falls to a tenth along a cosine. `None`: it stays constant.
    pub cosine_steps: Option<u64>,
    /// Decoupled weight decay, applied to matrices.
    pub weight_decay: f64,
    /// Maximum gradient norm (L2, over all parameters); larger gradients are scaled down.
    pub clip: f64,
}

/// AdamW's state.
#[derive(Debug)]
pub struct AdamW {
    config: OptimiserConfig,
    /// Steps taken.
    pub(crate) steps: u64,
    pub(crate) first: Vec<Vec<f32>>,
    pub(crate) second: Vec<Vec<f32>>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stepped {
    /// Gradient norm before clipping.
    pub gradient_norm: f64,
    /// The learning rate used.
    pub learning_rate: f64,
}

// === impl OptimiserConfig ===

impl OptimiserConfig {
    /// The learning rate of step `step` (from 0).
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.learning_rate * (step + 1) as f64 / self.warmup as f64;
        }
        let Some(steps) = self.cosine_steps else { return self.learning_rate };
        let left = steps.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / left).min(1.0);
        self.learning_rate * (0.1 + 0.45 * (1.0 + libm::cos(std::f64::consts::PI * done)))
    }

    /// # Errors
    /// [`TuneError::Setting`] for invalid numbers.
    pub fn check(&self) -> Result<(), TuneError> {
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return Err(TuneError::setting("learning rate", "must be above 0"));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(TuneError::setting("weight decay", "must be at least 0"));
        }
        if !(self.clip.is_finite() && self.clip > 0.0) {
            return Err(TuneError::setting("clip", "must be above 0"));
        }
        Ok(())
    }
}

// === impl AdamW ===

impl AdamW {
    /// A new state for a model's parameters.
    pub fn new(model: &Model, config: OptimiserConfig) -> AdamW {
        let zeros = || -> Vec<Vec<f32>> {
            let size = |parameter: &crate::model::Parameter| parameter.var.elem_count();
            model.parameters().iter().map(|parameter| vec![0.0; size(parameter)]).collect()
        };
        AdamW { config, steps: 0, first: zeros(), second: zeros() }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step against `gradients / divisor`.
    ///
    /// # Errors
    /// [`TuneError::Diverged`] for gradients that are not numbers; in that case nothing has changed.
    pub fn step(
        &mut self,
        model: &Model,
        gradients: &Gradients,
        divisor: f64,
    ) -> Result<Stepped, TuneError> {
        let n_parameters = model.parameters().len();
        let slopes: Vec<Option<Vec<f32>>> = (0..n_parameters)
            .map(|index| {
                gradients.of(index).map(|slope| slope.flatten_all()?.to_vec1()).transpose()
            })
            .collect::<candle_core::Result<_>>()?;
        let squares = slopes.iter().flatten().flatten().map(|&slope| f64::from(slope).powi(2));
        let gradient_norm = squares.sum::<f64>().sqrt() / divisor;
        if !gradient_norm.is_finite() {
            return Err(TuneError::Diverged { step: self.steps, what: "gradient" });
        }
        let learning_rate = self.config.rate(self.steps);
        let shrink =
            if gradient_norm > self.config.clip { self.config.clip / gradient_norm } else { 1.0 };
        self.steps += 1;
        let power = |decay: f64| 1.0 - libm::pow(decay, self.steps as f64);
        let (first_left, second_left) = (power(FIRST_DECAY), power(SECOND_DECAY));
        for (index, parameter) in model.parameters().iter().enumerate() {
            let mut values = parameter.var.flatten_all()?.to_vec1::<f32>()?;
            let decay = if parameter.var.rank() > 1 { self.config.weight_decay } else { 0.0 };
            let (first, second) = (&mut self.first[index], &mut self.second[index]);
            let slopes = slopes[index].as_ref();
            for (at, value) in values.iter_mut().enumerate() {
                let slope = slopes.map_or(0.0, |slopes| f64::from(slopes[at])) * shrink / divisor;
                let mean = FIRST_DECAY * f64::from(first[at]) + (1.0 - FIRST_DECAY) * slope;
                let spread =
                    SECOND_DECAY * f64::from(second[at]) + (1.0 - SECOND_DECAY) * slope * slope;
                (first[at], second[at]) = (mean as f32, spread as f32);
                let along = (mean / first_left) / ((spread / second_left).sqrt() + EPSILON);
                let number = f64::from(*value);
                *value = (number - learning_rate * (along + decay * number)) as f32;
            }
            let shape = parameter.var.shape().clone();
            parameter.var.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
        }
        Ok(Stepped { gradient_norm, learning_rate })
    }
}

#[cfg(test)]
mod tests;
