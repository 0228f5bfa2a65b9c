//! Which budget would have been enough. Pure.

use std::time::Duration;

use jury_grm::domain::Verdict;

/// Room for a fleet that is a little slower the next time.
const MARGIN: f64 = 1.25;
/// Budgets are told in whole steps of this.
const STEP: Duration = Duration::from_secs(10);

/// The budget with which an item that ran out of it would have had all its samples, by what came of it within
/// `budget`: time for its own samples grows with the share of them that was still missing. `None` when nothing was
/// missing for want of time.
///
/// An upper estimate where samples are drawn side by side; where none had begun, twice what it had.
pub fn enough_budget(verdict: &Verdict, budget: Duration) -> Option<Duration> {
    let counts = &verdict.counts;
    if counts.timed_out == 0 || counts.asked == 0 {
        return None;
    }
    let queued = Duration::from_millis(verdict.run.queue_ms);
    let judged = Duration::from_millis(verdict.run.total_ms).saturating_sub(queued);
    let asked = f64::from(counts.asked);
    let ended = f64::from(counts.asked - counts.timed_out) / asked;
    // Tokens of samples that were cut off count as well, as part of the longest that they could become.
    let longest = asked * f64::from(verdict.provenance.settings.max_critique_tokens);
    let written = (verdict.usage.generated_tokens + verdict.run.wasted_tokens) as f64 / longest;
    let share = ended.max(written).min(1.0);
    let enough = if share > 0.0 { judged.div_f64(share).mul_f64(MARGIN) } else { budget * 2 };
    let steps = enough.max(budget).as_secs_f64() / STEP.as_secs_f64();
    Some(STEP * (steps.floor() as u32).saturating_add(1))
}
