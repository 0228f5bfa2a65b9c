//! Width: every reward is known to within a given interval.
//!
//! The interval is Student's, at 95 %, around a response's mean value over the m samples that showed it. Its width is 2
//! t(0.975, m - 1) sqrt((s^2 + u / m) / m), with the variance s^2 and u = (range / 9)^2, which is one squared point of
//! a scale 1..10. The term u / m keeps a few samples that happen to agree from stopping at once (Chow and Robbins,
//! 1965: On the asymptotic theory of fixed-width sequential confidence intervals for the mean). Position bias is part
//! of s^2, although blocks cancel it in the mean; this errs towards more samples.

use super::Stopping;
use crate::domain::Sample;
use crate::vote::{unit, votes};

/// 0.975 quantile of Student's distribution with 1, 2, .. degrees of freedom.
const T_975: [f64; 10] =
    [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281];
/// The same quantile of the normal distribution.
const Z_975: f64 = 1.959_963_985;

pub(super) fn fires(stopping: &Stopping, prefix: &[Sample], width: f64) -> bool {
    let rule = stopping.rule.in_force(prefix);
    let mut values = vec![Vec::new(); stopping.plan.duplicate_of.len()];
    for vote in votes(&stopping.plan.duplicate_of, prefix, rule) {
        for (&response, value) in vote.order.iter().zip(&*vote.values) {
            values[response].push(value / unit(rule));
        }
    }
    let guard = (stopping.range() / 9.0).powi(2);
    let is_narrow =
        |response: usize| interval(&values[response], guard).is_some_and(|is| is <= width);
    stopping.shown().all(is_narrow)
}

/// Width of the 95 % interval of the mean; none for fewer than two values.
fn interval(values: &[f64], guard: f64) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let variance = squares / (n - 1.0) + guard / n;
    Some(2.0 * t_975(values.len() - 1) * (variance / n).sqrt())
}

/// From the table; beyond it from the Cornish-Fisher expansion, which is correct to three decimals there.
fn t_975(degrees: usize) -> f64 {
    let tabulated = T_975.get(degrees.saturating_sub(1)).copied();
    tabulated.unwrap_or_else(|| {
        let (z, n) = (Z_975, degrees as f64);
        let first = (z.powi(3) + z) / (4.0 * n);
        let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n);
        let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z)
            / (384.0 * n.powi(3));
        z + first + second + third
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_tables() {
        for (degrees, quantile) in
            [(1, 12.7062), (10, 2.2281), (11, 2.2010), (30, 2.0423), (255, 1.9693)]
        {
            assert!((t_975(degrees) - quantile).abs() < 2e-4, "{degrees}: {}", t_975(degrees));
        }
    }

    #[test]
    fn few_samples_that_agree_are_no_narrow_interval() {
        assert_eq!(interval(&[5.0], 1.0), None);
        assert!(interval(&[5.0, 5.0], 1.0).unwrap() > 9.0);
        assert!(interval(&[5.0; 32], 1.0).unwrap() < 0.3);
    }
}
