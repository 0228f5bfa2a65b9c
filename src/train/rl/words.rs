//! Messages about a run.

use std::path::Path;

use jury_trainer::rl::{HeldOut, RlRun, RlStep, SoFar};

/// The line of a step.
pub fn step_line(so_far: SoFar<'_>, of: u64) -> String {
    let Some(step) = so_far.history.last() else { return String::new() };
    let nats = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.3}"));
    let mut line = format!(
        "step {} of {of}: reward {:+.3}, KL {}, entropy {}, {:.0} tokens, {} of {} unreadable, {} of {} groups without spread",
        step.step,
        step.reward,
        nats(step.kl),
        nats(step.entropy),
        step.length,
        step.unreadable,
        step.samples,
        step.without_spread,
        step.groups
    );
    if let Some(held_out) = so_far.held_out.last().filter(|_| so_far.is_measured) {
        let HeldOut { correct, readable, .. } = held_out;
        line += &format!("; held out: {correct:.3} correct, {readable:.3} readable");
    }
    line
}

/// The summary of a finished run.
pub fn said(run: &RlRun, last: &Path, best: &Path) -> String {
    let (steps, n) = (&run.history, run.history.len().min(10));
    let mean = |steps: &[RlStep]| {
        steps.iter().map(|step| step.reward).sum::<f64>() / steps.len().max(1) as f64
    };
    let (first, newest) = (mean(&steps[..n]), mean(&steps[steps.len() - n..]));
    let mut said = format!(
        "{} steps. Mean reward of the first {n} steps: {first:+.3}, of the last {n}: {newest:+.3}.\n{} is the last adapter.\n",
        steps.len(),
        last.display()
    );
    if let (Some(start), Some(end)) = (run.held_out.first(), run.held_out.last()) {
        said += &format!(
            "Correct held-out samples: from {:.3} to {:.3}; {} is the adapter with the most.\n",
            start.correct,
            end.correct,
            best.display()
        );
    }
    said
}
