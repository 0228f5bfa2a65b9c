//! Which of the peer's settings are tried, and which one is used: the fastest. Pure.
//!
//! ```text
//! attention and buffers ─> a request for each sample ─> its own drafts
//!       4 settings             the best of them,            the best so far, two ways to draft,
//!                              if k > 1                     if few samples are in flight
//! ```

use super::setting::{Drafting, Setting};
use crate::verdicts::config::Config;

/// The trials so far, and the next one.
#[derive(Debug)]
pub struct Trials {
    stages: Vec<Stage>,
    /// The rest of the current stage.
    left: Vec<Setting>,
    /// The fastest so far and its rate; before the first trial, the default setting.
    best: (Setting, f64),
    tried: usize,
}

/// Settings that are compared with the best of the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ungrouped,
    Drafts,
}

// === impl Trials ===

impl Trials {
    pub fn new(config: &Config) -> Self {
        let several = config.settings.k > 1;
        // A single sample has no other sample to share a request with.
        let as_asked = |setting: Setting| if several { setting } else { setting.ungrouped() };
        let mut trials = Self {
            stages: Vec::new(),
            left: Vec::new(),
            best: (as_asked(Setting::USUAL), f64::NEG_INFINITY),
            tried: 0,
        };
        if config.tries_settings {
            trials.left = Setting::GROUPED.map(as_asked).to_vec();
            let stages = [(several, Stage::Ungrouped), (config.few_in_flight(), Stage::Drafts)];
            trials.stages =
                stages.into_iter().filter(|(wanted, _)| *wanted).map(|(_, stage)| stage).collect();
        }
        trials
    }

    /// The total number of trials.
    pub fn count(&self) -> usize {
        let of_stages: usize =
            self.stages.iter().map(|stage| stage.settings(self.best.0).len()).sum();
        self.tried + self.left.len() + of_stages
    }

    /// The next setting to try; `None` when done.
    pub fn next(&mut self) -> Option<Setting> {
        if self.left.is_empty() && !self.stages.is_empty() {
            self.left = self.stages.remove(0).settings(self.best.0);
        }
        if self.left.is_empty() { None } else { Some(self.left.remove(0)) }
    }

    /// Records the result of a trial, in verdicts per minute.
    pub fn record(&mut self, setting: Setting, rate: f64) {
        self.tried += 1;
        if rate > self.best.1 {
            self.best = (setting, rate);
        }
    }

    /// The setting to measure with.
    pub fn best(&self) -> Setting {
        self.best.0
    }
}

// === impl Stage ===

impl Stage {
    fn settings(self, best: Setting) -> Vec<Setting> {
        match self {
            Self::Ungrouped => vec![best.ungrouped()],
            Self::Drafts => Drafting::ON.map(|drafts| Setting { drafts, ..best }).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BenchCommand;
    use crate::args::tests::command;

    fn trials(typed: &str) -> Trials {
        let words = format!("jury bench verdicts --items i --model-cache m {typed}");
        let BenchCommand::Verdicts(args) = command(&words) else { unreachable!() };
        Trials::new(&Config::try_from(*args).unwrap())
    }

    /// Runs all trials with these rates. Returns the settings that were tried, and the chosen one.
    fn run(mut trials: Trials, rate: fn(Setting) -> f64) -> (Vec<Setting>, Setting) {
        let planned = trials.count();
        let mut tried = Vec::new();
        while let Some(setting) = trials.next() {
            assert!(!tried.contains(&setting), "{setting:?} is tried twice");
            tried.push(setting);
            trials.record(setting, rate(setting));
        }
        assert_eq!((planned, trials.count()), (tried.len(), tried.len()));
        (tried, trials.best())
    }

    fn rate(setting: Setting) -> f64 {
        let attention = if setting.flash_attention { 2.0 } else { 1.0 };
        let buffer = if setting.unified { 0.0 } else { 0.5 };
        let drafts = if setting.drafts == Drafting::ShortNgram { 3.0 } else { 0.0 };
        attention + buffer + drafts - if setting.grouped { 0.0 } else { 0.1 }
    }

    #[test]
    fn the_fastest_is_kept_and_alone_tried_with_a_request_for_each_sample() {
        let (tried, best) = run(trials("-k 8"), rate);
        assert_eq!(tried[..4], Setting::GROUPED);
        assert_eq!(tried[4..], [Setting::GROUPED[1].ungrouped()]);
        assert_eq!(best, Setting::GROUPED[1]);
    }

    #[test]
    fn its_own_drafts_are_tried_where_ours_drafts() {
        let (tried, best) = run(trials("-k 3"), rate);
        assert_eq!((tried.len(), best.drafts), (7, Drafting::ShortNgram));
        assert!(best.grouped && best.flash_attention && !best.unified);
        let (tried, best) = run(trials("-k 3"), |setting| -rate(setting));
        assert_eq!((tried.len(), best.drafts), (7, Drafting::Off));
        assert_eq!(run(trials("-k 2 --at-once 2"), rate).0.len(), 5);
    }

    #[test]
    fn a_single_sample_shares_no_request() {
        let (tried, _) = run(trials("-k 1"), rate);
        assert_eq!(tried.len(), 6);
        assert!(tried.iter().all(|setting| !setting.grouped));
    }

    #[test]
    fn a_quick_look_tries_none() {
        assert_eq!(run(trials("--quick"), rate), (vec![], Setting::USUAL));
        assert_eq!(run(trials("--quick -k 1"), rate), (vec![], Setting::USUAL.ungrouped()));
    }
}
