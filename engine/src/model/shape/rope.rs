//! Rotation by position (RoPE), and how models stretch it to contexts longer than they were first trained with.

use std::f64::consts::PI;

use jury_kernels::cpu::rows::RopePairs;

/// The settings of the rotation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rope {
    pub(crate) pairs: RopePairs,
    /// Rotated elements of a head: its first; for latent attention, its last.
    pub(crate) size: usize,
    pub(crate) base: f64,
    /// The base in layers with a window, if it differs; these layers are never scaled.
    pub(crate) local_base: Option<f64>,
    pub(crate) scaling: RopeScaling,
}

/// How frequencies are changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RopeScaling {
    None,
    /// All frequencies are divided by the factor.
    Linear {
        factor: f64,
    },
    /// Low frequencies are divided by the factor, high ones are unchanged, and those between are interpolated.
    Llama3 {
        factor: f64,
        /// A frequency is low if it makes fewer turns than this over the original context.
        low_turns: f64,
        /// A frequency is high if it makes more turns than this over the original context.
        high_turns: f64,
        original_context: f64,
    },
    /// As for Llama 3, but interpolated by the index of the pair.
    Yarn {
        factor: f64,
        original_context: f64,
        /// Pairs that make more turns than this over the original context are unchanged.
        fast_turns: f64,
        /// Pairs that make fewer turns than this over it are divided by the factor.
        slow_turns: f64,
        /// Factor of sines and cosines.
        magnitude: f64,
    },
}

// === impl Rope ===

impl Rope {
    /// The angle by which each pair is rotated per position, in layers without a window.
    pub(crate) fn frequencies(&self) -> Vec<f64> {
        let plain = self.unscaled(self.base);
        match self.scaling {
            RopeScaling::None => plain,
            RopeScaling::Linear { factor } => {
                plain.into_iter().map(|frequency| frequency / factor).collect()
            }
            RopeScaling::Llama3 { factor, low_turns, high_turns, original_context } => {
                let scaled = |frequency: f64| {
                    let turns = original_context * frequency / (2.0 * PI);
                    let kept = ((turns - low_turns) / (high_turns - low_turns)).clamp(0.0, 1.0);
                    mix(frequency, factor, kept)
                };
                plain.into_iter().map(scaled).collect()
            }
            RopeScaling::Yarn { factor, original_context, fast_turns, slow_turns, .. } => {
                let first = self.pair_that_turns(fast_turns, original_context).floor().max(0.0);
                let most = self.size as f64 - 1.0;
                let last = self.pair_that_turns(slow_turns, original_context).ceil().min(most);
                let width = if first == last { 0.001 } else { last - first };
                let scaled = |(pair, frequency): (usize, f64)| {
                    let kept = 1.0 - ((pair as f64 - first) / width).clamp(0.0, 1.0);
                    mix(frequency, factor, kept)
                };
                plain.into_iter().enumerate().map(scaled).collect()
            }
        }
    }

    /// The same for layers with a window; `None` if it does not differ.
    pub(crate) fn local_frequencies(&self) -> Option<Vec<f64>> {
        self.local_base.map(|base| self.unscaled(base))
    }

    /// Factor of sines and cosines.
    pub(crate) fn magnitude(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn { magnitude, .. } => magnitude,
            _ => 1.0,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let numbers = match self.scaling {
            RopeScaling::None => vec![],
            RopeScaling::Linear { factor } => vec![factor],
            RopeScaling::Llama3 { factor, low_turns, high_turns, original_context } => {
                vec![factor, low_turns, high_turns - low_turns, original_context]
            }
            RopeScaling::Yarn { factor, original_context, fast_turns, slow_turns, magnitude } => {
                vec![factor, original_context, slow_turns, fast_turns - slow_turns, magnitude]
            }
        };
        let bases = [self.base, self.local_base.unwrap_or(2.0)];
        let sane = |number: f64| number.is_finite() && number > 0.0;
        if !bases.into_iter().all(|base| sane(base) && base > 1.0) || !numbers.into_iter().all(sane)
        {
            return Err("settings of the rotation that make no sense".to_owned());
        }
        Ok(())
    }

    fn unscaled(&self, base: f64) -> Vec<f64> {
        (0..self.size / 2)
            .map(|pair| libm::pow(base, -2.0 * pair as f64 / self.size as f64))
            .collect()
    }

    /// The (fractional) index of the pair that makes this many turns in a context.
    fn pair_that_turns(&self, turns: f64, context: f64) -> f64 {
        let pairs = self.size as f64 / 2.0;
        pairs * libm::log(context / (turns * 2.0 * PI)) / libm::log(self.base)
    }
}

/// Interpolates between the scaled frequency (0) and the original one (1).
fn mix(frequency: f64, factor: f64, kept: f64) -> f64 {
    frequency / factor * (1.0 - kept) + frequency * kept
}

/// The magnitude that YaRN's authors found for queries and keys, with a model's own weight for it.
pub(super) fn yarn_magnitude(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * libm::log(factor) + 1.0 }
}
