//! The vote rules with their parameters.

use crate::domain::{Sample, VoteRule, Voting};

/// A vote rule with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Every valid sample votes with its scores.
    Mean,
    /// The valid samples with the highest meta scores vote with their scores; among equals, the lowest index wins.
    Top {
        /// How many vote; all valid samples if there are fewer. At least 1.
        k_meta: u32,
    },
    /// Every valid sample votes for the response that it scored highest; ties are split.
    Majority,
    /// Every valid sample votes with its scores, weighted by the probability that its meta score stands for.
    Weighted(Calibration),
}

/// Converts the logit of a Meta RM to the probability that a sample is right: 1 / (1 + exp(-(slope x logit +
/// intercept))) (Platt, 1999: Probabilistic outputs for support vector machines).
///
/// `exp` and `log1p` come from the crate libm. The standard library uses the system's, which round differently by
/// processor and version.
///
/// The default uses the logit unchanged: a Meta RM trained by cross-entropy gives log odds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Multiplies the logit.
    pub slope: f64,
    /// Log odds at logit 0.
    pub intercept: f64,
}

// === impl Rule ===

impl Rule {
    /// The rule that `voting` requests when `k` samples are planned.
    pub fn of(voting: &Voting, k: u32, calibration: Calibration) -> Self {
        match voting.effective_rule() {
            VoteRule::Mean => Self::Mean,
            VoteRule::Top => Self::Top { k_meta: voting.effective_k_meta(k) },
            VoteRule::Majority => Self::Majority,
            VoteRule::Weighted => Self::Weighted(calibration),
        }
    }

    /// The rule without its parameters.
    pub fn kind(self) -> VoteRule {
        match self {
            Self::Mean => VoteRule::Mean,
            Self::Top { .. } => VoteRule::Top,
            Self::Majority => VoteRule::Majority,
            Self::Weighted(_) => VoteRule::Weighted,
        }
    }

    /// The rule that can be applied to these samples: the mean replaces a rule that needs meta scores unless all valid
    /// samples have one.
    #[must_use]
    pub fn in_force(self, samples: &[Sample]) -> Self {
        let needs_ranks = matches!(self, Self::Top { .. } | Self::Weighted(_));
        if needs_ranks && samples.iter().any(is_unranked) { Self::Mean } else { self }
    }
}

// === impl Calibration ===

impl Calibration {
    /// Natural logarithm of the probability, at most 0; finite for every finite logit of a sane size.
    pub fn ln_probability(self, logit: f64) -> f64 {
        let log_odds = self.slope * logit + self.intercept;
        // ln(1 / (1 + exp(-x))) without overflow.
        log_odds.min(0.0) - libm::log1p(libm::exp(-log_odds.abs()))
    }

    /// The probability that a sample with this logit is right, 0..=1.
    pub fn probability(self, logit: f64) -> f64 {
        libm::exp(self.ln_probability(logit))
    }
}

impl Default for Calibration {
    fn default() -> Self {
        Self { slope: 1.0, intercept: 0.0 }
    }
}

/// The meta score, if it is a number that can be compared.
pub(crate) fn meta_score(sample: &Sample) -> Option<f64> {
    sample.meta_score.filter(|score| score.is_finite())
}

/// True for a valid sample that was not ranked.
pub fn is_unranked(sample: &Sample) -> bool {
    sample.scores().is_some() && meta_score(sample).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_is_the_logistic_function_and_never_overflows() {
        let plain = Calibration::default();
        assert_eq!(plain.probability(0.0), 0.5);
        assert!((plain.probability(2.0) - 0.880_797_077_977_882_4).abs() < 1e-15);
        assert!((plain.probability(-2.0) - 0.119_202_922_022_117_55).abs() < 1e-15);
        assert_eq!((plain.probability(1e6), plain.probability(-1e6)), (1.0, 0.0));
        assert_eq!(plain.ln_probability(-1e6), -1e6);
        let fitted = Calibration { slope: 0.5, intercept: -1.0 };
        assert_eq!(fitted.probability(2.0), 0.5);
    }

    /// The C library of Debian 12 gives different last bits for these logits.
    #[test]
    fn a_calibration_has_the_same_bits_on_every_machine() {
        let plain = Calibration::default();
        for (logit, bits) in [
            (2.484375, 0xbfb4_805c_166b_b2ad_u64),
            (3.0625, 0xbfa7_6747_48bc_2a12),
            (3.984375, 0xbf92_e022_5fd6_c896),
        ] {
            assert_eq!(plain.ln_probability(logit).to_bits(), bits, "{logit}");
        }
        assert_eq!(plain.probability(2.484375).to_bits(), 0x3fed_8989_6df3_9b8d);
    }
}
