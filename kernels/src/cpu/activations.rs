//! Element-wise activation functions.

#![allow(unsafe_code)] // `at_level!` calls functions whose features were detected.

use super::rows::exp;
use super::{LANES, SimdLevel, at_level};

/// Replaces `gate` by `silu(gate) * up`. Lengths must be equal, and multiples of 16.
pub fn silu_times(level: SimdLevel, gate: &mut [f32], up: &[f32]) {
    at_level!(level, silu_times_body, (gate: &mut [f32], up: &[f32]));
}

/// Replaces `gate` by `gelu(gate) * up`, with the tanh approximation of GELU's error function. Lengths must be equal,
/// and multiples of 16.
pub fn gelu_times(level: SimdLevel, gate: &mut [f32], up: &[f32]) {
    at_level!(level, gelu_times_body, (gate: &mut [f32], up: &[f32]));
}

/// Replaces every x by `cap * tanh(x / cap)`, to about 1e-7 of the cap. NaN stays NaN.
pub fn soft_cap(level: SimdLevel, x: &mut [f32], cap: f32) {
    at_level!(level, soft_cap_body, (x: &mut [f32], cap: f32));
}

#[inline(always)]
fn silu_times_body(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.chunks_exact_mut(LANES).zip(up.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let x = gate[lane];
            gate[lane] = x / (1.0 + exp(-x)) * up[lane];
        }
    }
}

#[inline(always)]
fn gelu_times_body(gate: &mut [f32], up: &[f32]) {
    // x * (1 + tanh u) / 2 = x / (1 + exp(-2 u)), u = sqrt(2 / pi) * (x + 0.044715 * x^3).
    const TWICE_ROOT: f32 = 1.595_769;
    const CUBE: f32 = 0.044_715;
    for (gate, up) in gate.chunks_exact_mut(LANES).zip(up.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let x = gate[lane];
            let twice = TWICE_ROOT * x * (x * x).mul_add(CUBE, 1.0);
            gate[lane] = x / (1.0 + exp(-twice)) * up[lane];
        }
    }
}

#[inline(always)]
fn soft_cap_body(x: &mut [f32], cap: f32) {
    let twice = 2.0 / cap;
    for x in x {
        // tanh u = 1 - 2 / (exp(2 u) + 1); `exp` turns NaN into a number.
        let capped = cap * (1.0 - 2.0 / (exp(*x * twice) + 1.0));
        *x = if x.is_nan() { f32::NAN } else { capped };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Vec<f32> {
        (-4_000..4_000).map(|step| step as f32 / 100.0).collect()
    }

    #[test]
    fn activations_are_right_to_a_millionth() {
        let ones = vec![1.0; numbers().len()];
        let (mut silu, mut gelu) = (numbers(), numbers());
        silu_times(SimdLevel::detect(), &mut silu, &ones);
        gelu_times(SimdLevel::detect(), &mut gelu, &ones);
        for ((x, silu), gelu) in numbers().into_iter().map(f64::from).zip(silu).zip(gelu) {
            let near =
                |found: f32, exact: f64| (f64::from(found) - exact).abs() < 1e-6 * (1.0 + x.abs());
            assert!(near(silu, x / (1.0 + (-x).exp())), "silu({x}) is not {silu}");
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            assert!(near(gelu, x / 2.0 * (1.0 + u.tanh())), "gelu({x}) is not {gelu}");
        }
    }

    #[test]
    fn a_soft_cap_is_a_scaled_tanh_and_keeps_what_is_no_number() {
        for cap in [5.0, 30.0, 50.0] {
            let mut capped = numbers();
            soft_cap(SimdLevel::detect(), &mut capped, cap);
            for (x, capped) in numbers().into_iter().zip(capped) {
                let exact = f64::from(cap) * (f64::from(x) / f64::from(cap)).tanh();
                assert!((f64::from(capped) - exact).abs() < 3e-7 * f64::from(cap), "{x}: {capped}");
            }
        }
        let mut special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30];
        soft_cap(SimdLevel::detect(), &mut special, 5.0);
        assert!(special[0].is_nan());
        assert_eq!(special[1..], [5.0, -5.0, 5.0]);
    }

    #[test]
    fn every_level_gives_the_portable_bits() {
        let run = |level: SimdLevel| {
            let [mut silu, mut gelu, mut capped] = [numbers(), numbers(), numbers()];
            silu_times(level, &mut silu, &numbers());
            gelu_times(level, &mut gelu, &numbers());
            soft_cap(level, &mut capped, 30.0);
            let all = [silu, gelu, capped].concat();
            all.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        for level in SimdLevel::available() {
            assert!(run(level) == run(SimdLevel::Portable), "{level:?}");
        }
    }
}
