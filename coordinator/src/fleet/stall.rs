//! Tells a hung model from a busy one, by its step counter.

use std::time::{Duration, Instant};

use jury_proto::v1::Load;

/// A model that draws samples but takes no step for this long is hung. Longer than the slowest known step: a full
/// chunk of a large model's prompt on a CPU takes a few seconds.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// The last step that a worker was seen to take.
#[derive(Debug, Clone, Copy, Default)]
pub struct StallWatch {
    last_step: Option<(u64, Instant)>,
}

// === impl StallWatch ===

impl StallWatch {
    /// Records a load. Returns true if the model moved, or had no reason to.
    pub fn record(&mut self, load: Load, now: Instant) -> bool {
        // Zero means that steps are not reported; a worker that draws nothing need not move.
        if load.steps == 0 || load.running == 0 {
            self.last_step = None;
            return true;
        }
        match self.last_step {
            Some((steps, _)) if steps == load.steps => false,
            _ => {
                self.last_step = Some((load.steps, now));
                true
            }
        }
    }

    /// How long the model has stood still, if that is too long.
    pub fn stalled_for(&self, now: Instant) -> Option<Duration> {
        let (_, since) = self.last_step?;
        let stood_still = now.saturating_duration_since(since);
        (stood_still >= STALLED_AFTER).then_some(stood_still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(running: u32, steps: u64) -> Load {
        Load { running, queued: 0, capacity: 8, steps }
    }

    fn stalled(loads: &[Load]) -> bool {
        let begin = Instant::now();
        let mut watch = StallWatch::default();
        let mut now = begin;
        for (i, load) in loads.iter().enumerate() {
            now = begin + STALLED_AFTER * u32::try_from(i).unwrap();
            watch.record(*load, now);
        }
        watch.stalled_for(now).is_some()
    }

    #[test]
    fn a_model_that_draws_without_a_step_hangs() {
        assert!(stalled(&[load(2, 7), load(2, 7)]));
    }

    #[test]
    fn a_model_that_moves_or_draws_nothing_or_does_not_tell_is_never_suspected() {
        assert!(!stalled(&[load(2, 7), load(2, 8)]));
        assert!(!stalled(&[load(2, 7), load(0, 7)]));
        assert!(!stalled(&[load(0, 7), load(0, 7), load(1, 7)]), "it has only just begun");
        assert!(!stalled(&[load(2, 0), load(2, 0)]));
    }
}
