//! From rewarded groups to a gradient.

use candle_core::{Device, Tensor};

use super::state::RlStep;
use super::{Drawn, Reward};
use crate::error::TuneError;
use crate::model::{Gradients, Model, Sequence};
use crate::sft::seven_digits;

/// A step before its update.
pub(super) struct Learned {
    pub(super) told: RlStep,
    /// The sum over `n_sequences` sequences.
    pub(super) gradients: Gradients,
    pub(super) n_sequences: usize,
}

/// `(r - mean) / std` for each member, with the standard deviation of the group itself, not an estimate for a
/// population; `None` if all rewards are equal.
pub fn advantages(rewards: &[f64]) -> Option<Vec<f64>> {
    let n = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n;
    let variance = rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / n;
    // Rewards are +1 and -1, so a nonzero variance is never tiny.
    (variance > 1e-12)
        .then(|| rewards.iter().map(|reward| (reward - mean) / variance.sqrt()).collect())
}

/// The k3 estimate of KL(now || reference) at a token that was drawn from `now`.
pub fn k3(now: f64, reference: f64) -> f64 {
    let difference = reference - now;
    difference.exp() - difference - 1.0
}

/// A member that contributes to the gradient.
struct Member {
    sequence: Sequence,
    advantage: f64,
    /// Log-probabilities under the reference.
    reference: Vec<f32>,
}

/// The gradient of all groups. Samples without any token, not even an end token, cannot be learned from and only
/// count as drawn.
pub(super) fn learn(
    model: &Model,
    reference: &[Tensor],
    prompts: &[Vec<&[u32]>],
    groups: &[Vec<(Drawn, Reward)>],
    beta: f64,
    step: u64,
) -> Result<Learned, TuneError> {
    let all = || groups.iter().flatten();
    let n = all().count().max(1) as f64;
    let mut members = Vec::new();
    let mut without_spread = 0;
    for (prompts, group) in prompts.iter().zip(groups) {
        let rewards: Vec<f64> = group.iter().map(|(_, reward)| reward.value).collect();
        let Some(advantages) = advantages(&rewards) else {
            without_spread += 1;
            continue;
        };
        for ((prompt, (drawn, _)), advantage) in prompts.iter().zip(group).zip(advantages) {
            if drawn.tokens.is_empty() {
                continue;
            }
            let tokens: Vec<u32> = prompt.iter().chain(&drawn.tokens).copied().collect();
            let sequence = Sequence { tokens, start: prompt.len() };
            members.push(Member { sequence, advantage, reference: Vec::new() });
        }
    }
    let now = model.values()?;
    model.set_values(reference)?;
    for member in &mut members {
        member.reference = model.pass(&member.sequence)?.log_probs;
    }
    model.set_values(&now)?;
    let mut gradients = model.no_gradients();
    let (mut kl, mut entropy, mut n_tokens) = (0.0, 0.0, 0);
    for member in &members {
        let passed = model.learn(
            &member.sequence,
            |log_probs| loss(log_probs, &member.reference, member.advantage, beta),
            &mut gradients,
        )?;
        if !passed.loss.is_finite() {
            return Err(TuneError::Diverged { step, what: "loss" });
        }
        let pairs = passed.log_probs.iter().zip(&member.reference);
        kl += pairs.map(|(&now, &reference)| k3(now.into(), reference.into())).sum::<f64>();
        entropy += passed.entropies.iter().map(|&entropy| f64::from(entropy)).sum::<f64>();
        n_tokens += passed.log_probs.len();
    }
    let mean = |sum: f64| (n_tokens > 0).then(|| seven_digits(sum / n_tokens as f64));
    let told = RlStep {
        step: step + 1,
        reward: seven_digits(all().map(|(_, reward)| reward.value).sum::<f64>() / n),
        kl: mean(kl),
        entropy: mean(entropy),
        length: seven_digits(all().map(|(drawn, _)| drawn.tokens.len() as f64).sum::<f64>() / n),
        unreadable: all().filter(|(_, reward)| !reward.is_readable).count(),
        samples: all().count(),
        groups: groups.len(),
        without_spread,
        gradient_norm: 0.0,
    };
    Ok(Learned { told, gradients, n_sequences: members.len() })
}

/// `mean over tokens of (-advantage * ratio + beta * k3)`; the ratio to the drawing policy is 1, but its gradient is
/// not 0.
fn loss(
    log_probs: &Tensor,
    reference: &[f32],
    advantage: f64,
    beta: f64,
) -> candle_core::Result<Tensor> {
    let ratio = (log_probs - log_probs.detach())?.exp()?;
    let gain = (ratio * -advantage)?;
    let reference = Tensor::new(reference, &Device::Cpu)?;
    let difference = (reference - log_probs)?;
    let kl = ((difference.exp()? - &difference)? - 1.0)?;
    (gain + (kl * beta)?)?.mean_all()
}
