//! How far two next-token distributions are from each other.

pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - top).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit) - top - sum.ln()).collect()
}

/// KL divergence, both as log-probabilities.
pub fn divergence(truth: &[f64], other: &[f64]) -> f64 {
    truth.iter().zip(other).map(|(truth, other)| truth.exp() * (truth - other)).sum()
}

/// The most probable token and the runner-up.
pub fn top_two(log_probabilities: &[f64]) -> [usize; 2] {
    let mut best = [0, 1];
    if log_probabilities[1] > log_probabilities[0] {
        best = [1, 0];
    }
    for (token, value) in log_probabilities.iter().enumerate().skip(2) {
        if *value > log_probabilities[best[0]] {
            best = [token, best[0]];
        } else if *value > log_probabilities[best[1]] {
            best[1] = token;
        }
    }
    best
}
