//! What was measured, as a table for people, as Markdown and as JSON.

use std::fmt::Write as _;

use jury_engine::Host;
use jury_grm::domain::Settings;
use serde::Serialize;

use super::Round;
use super::config::Plan;
use super::peer::{Peer, Setting};
use crate::bench::now;
use crate::bench::spread::{Spread, paired_ratio};
use crate::exit::{Exit, Failed, OrExit};
use crate::status::columns;

const HEADINGS: [&str; 6] = [
    "WHO",
    "VERDICTS A MINUTE",
    "TOKENS A SECOND",
    "TOKENS A SAMPLE",
    "SAMPLES READ",
    "VERDICTS WITH REWARDS",
];

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it ended, UTC.
    pub date: String,
    pub version: &'static str,
    pub host: Host,
    pub threads: usize,
    pub model: String,
    pub items: usize,
    pub at_once: usize,
    pub rounds: usize,
    pub settings: Settings,
    pub ours: Option<Side>,
    pub peer: Option<Side>,
    pub peer_version: Option<String>,
    pub peer_setting: Option<Setting>,
    /// Ours to the peer's in verdicts a minute: the median of the rounds' ratios.
    pub ratio: Option<f64>,
}

/// What one side did in all rounds.
#[derive(Debug, Serialize)]
pub struct Side {
    pub verdicts_per_minute: Spread,
    /// Generated tokens, of all samples together; the time includes the prompts.
    pub tokens_per_second: Spread,
    /// Mean over all rounds. The sides draw different samples: lengths may differ.
    pub tokens_per_sample: f64,
    /// Tokens generated for samples that had their scores, which count nowhere else, to those that count.
    pub surplus_share: f64,
    /// Part of the samples whose text gave scores, over all rounds.
    pub read_share: f64,
    /// Part of the verdicts in which every response has a reward, over all rounds.
    pub rewarded_share: f64,
    pub rounds: Vec<Round>,
}

// === impl Side ===

impl Side {
    /// `None` without rounds.
    fn of(rounds: Vec<Round>) -> Option<Self> {
        let sum = |count: fn(&Round) -> u64| rounds.iter().map(count).sum::<u64>() as f64;
        let rates: Vec<f64> = rounds.iter().map(Round::verdicts_per_minute).collect();
        let tokens: Vec<f64> =
            rounds.iter().map(|round| round.generated_tokens as f64 / round.seconds).collect();
        let samples = sum(|round| round.samples).max(1.0);
        let generated = sum(|round| round.generated_tokens);
        Some(Self {
            verdicts_per_minute: Spread::of(&rates)?,
            tokens_per_second: Spread::of(&tokens)?,
            tokens_per_sample: generated / samples,
            surplus_share: sum(|round| round.surplus_tokens) / generated.max(1.0),
            read_share: sum(|round| round.read_samples) / samples,
            rewarded_share: sum(|round| round.rewarded) / sum(|round| round.verdicts).max(1.0),
            rounds,
        })
    }

    fn cells(&self, who: String) -> [String; 6] {
        [
            who,
            shown(&self.verdicts_per_minute),
            shown(&self.tokens_per_second),
            format!("{:.0}", self.tokens_per_sample),
            format!("{:.0} %", self.read_share * 100.0),
            format!("{:.0} %", self.rewarded_share * 100.0),
        ]
    }
}

// === impl Report ===

impl Report {
    pub fn new(
        plan: &Plan,
        model: &str,
        items: usize,
        ours: Vec<Round>,
        peer: Option<(Peer<'_>, Setting)>,
        of_peer: Vec<Round>,
    ) -> Self {
        let (ours, theirs) = (Side::of(ours), Side::of(of_peer));
        let rates = |side: &Option<Side>| {
            side.as_ref().map(|side| side.verdicts_per_minute.values.clone()).unwrap_or_default()
        };
        Self {
            date: now(),
            version: env!("CARGO_PKG_VERSION"),
            host: Host::detect(),
            threads: plan.threads,
            model: model.to_owned(),
            items,
            at_once: plan.at_once,
            rounds: plan.rounds,
            settings: plan.settings.clone(),
            ratio: paired_ratio(&rates(&ours), &rates(&theirs)),
            peer_setting: peer.as_ref().map(|(_, setting)| *setting),
            peer_version: peer.map(|(peer, _)| peer.found.version),
            ours,
            peer: theirs,
        }
    }

    /// For a terminal.
    pub fn table(&self) -> String {
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(self.rows());
        let mut text = format!("{}\n{}", self.preamble().join("\n"), columns(&rows));
        if let Some(ratio) = self.ratio {
            let _ = writeln!(text, "ours to llama.cpp: {ratio:.2}x verdicts a minute");
        }
        text
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for line in self.preamble() {
            let _ = writeln!(text, "* {line}");
        }
        if let Some(ratio) = self.ratio {
            let _ = writeln!(text, "* ours to llama.cpp: {ratio:.2}x verdicts a minute");
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text.push('\n');
        text.push_str(&line(&HEADINGS.map(str::to_lowercase)));
        text.push_str(&line(&HEADINGS.map(|_| "---".to_owned())));
        for row in self.rows() {
            text.push_str(&line(&row));
        }
        text
    }

    /// For a machine.
    pub fn json(&self) -> Result<String, Failed> {
        let json = serde_json::to_string_pretty(self).or_exit(Exit::Internal)?;
        Ok(format!("{json}\n"))
    }

    fn rows(&self) -> Vec<[String; 6]> {
        let setting = self.peer_setting.map(Setting::describe).unwrap_or_default();
        let ours = self.ours.as_ref().map(|side| side.cells("jury".to_owned()));
        let peer = self.peer.as_ref().map(|side| side.cells(format!("llama-server {setting}")));
        ours.into_iter().chain(peer).collect()
    }

    /// What the peer did for nothing: it cannot end one sample of a request alone.
    fn surplus(&self) -> Option<String> {
        let share = self.peer.as_ref()?.surplus_share * 100.0;
        Some(format!(
            "a sample ends at its scores; llama-server went on for {share:.1} % more tokens, not counted below"
        ))
    }

    fn preamble(&self) -> Vec<String> {
        let Settings { k, temperature, max_critique_tokens, .. } = self.settings;
        let peer = self
            .peer_version
            .as_ref()
            .map_or_else(|| "no peer".to_owned(), |version| format!("llama.cpp {version}"));
        let rounds = match self.rounds {
            1 => "one round".to_owned(),
            rounds => format!("{rounds} alternating rounds"),
        };
        let mut lines = vec![
            format!("{}, jury {}, {} kernels; {peer}", self.date, self.version, self.host.kernels),
            format!("{}, {} threads; {}", self.host.cpu, self.threads, self.model),
            format!(
                "{} item{}, {} at once, k {k}, temperature {temperature}, at most {max_critique_tokens} tokens a sample; \
                 medians of {rounds} (least to greatest)",
                self.items,
                if self.items == 1 { "" } else { "s" },
                self.at_once
            ),
            "both read scores from what the model writes (free read-out), with the same prompts and parser".to_owned(),
        ];
        lines.extend(self.surplus());
        lines
    }
}

fn shown(spread: &Spread) -> String {
    let Spread { median, min, max, .. } = spread;
    let decimals = if *median < 10.0 { 2 } else { 0 };
    format!("{median:.decimals$} ({min:.decimals$} to {max:.decimals$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(seconds: f64) -> Round {
        Round {
            seconds,
            verdicts: 2,
            rewarded: 1,
            samples: 16,
            read_samples: 4,
            generated_tokens: 800,
            surplus_tokens: 0,
        }
    }

    #[test]
    fn a_side_counts_over_all_rounds_and_takes_the_middle_speed() {
        let side = Side::of(vec![round(10.0), round(60.0), round(20.0)]).unwrap();
        assert_eq!(side.verdicts_per_minute.median, 6.0);
        assert_eq!(side.tokens_per_second.median, 40.0);
        assert_eq!((side.tokens_per_sample, side.read_share), (50.0, 0.25));
        assert_eq!(side.rewarded_share, 0.5);
        assert!(Side::of(Vec::new()).is_none());
    }

    #[test]
    fn tokens_after_the_scores_count_apart() {
        let side = Side::of(vec![Round { surplus_tokens: 80, ..round(10.0) }]).unwrap();
        assert_eq!((side.surplus_share, side.tokens_per_sample), (0.1, 50.0));
        assert_eq!(side.tokens_per_second.median, 80.0);
    }
}
