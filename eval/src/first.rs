//! Takes fewer samples out of many: the plan of n samples is the start of the plan of more.

use std::collections::HashMap;

use jury_grm::domain::{Usage, Verdict};

use crate::draws::Orders;

/// Keeps the first `n` samples of a verdict, as if a run had requested no more (with panels, at least one round).
/// Adjusts its token counts to them. The votes and the time remain those of all samples.
pub fn first(verdict: &mut Verdict, n: usize) {
    let Some(samples) = &mut verdict.samples else { return };
    let asked = Orders::of(samples).at_least(n);
    if samples.len() <= asked {
        return;
    }
    samples.truncate(asked);
    // Samples with the same order share a prefill.
    let prompts: HashMap<&[usize], u64> =
        samples.iter().map(|s| (&*s.spec.order, u64::from(s.prompt_tokens))).collect();
    verdict.usage = Usage {
        prompt_tokens: prompts.values().sum(),
        generated_tokens: samples.iter().map(|s| u64::from(s.generated_tokens)).sum(),
    };
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    verdict.counts.asked = number(asked);
    verdict.counts.spare = 0;
    verdict.provenance.settings.k = number(n);
}
