//! The measurements, as a table, as Markdown and as JSON.

mod side;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use jury_grm::domain::Settings;
use jury_terminal::exit::Failed;
use jury_terminal::page::columns;
use serde::Serialize;

pub use self::side::Side;
use super::Round;
use super::config::Config;
use super::peer::Setting;
use crate::head::Head;
use crate::output::json_page;
use crate::spread::{caption, counted, paired_ratio};

const HEADINGS: [&str; 7] = [
    "WHO",
    "VERDICTS A MINUTE",
    "TOKENS A SECOND",
    "TOKENS A SAMPLE",
    "SAMPLES READ",
    "VERDICTS WITH REWARDS",
    "DRAFTS",
];

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub head: Head,
    pub threads: usize,
    pub model: String,
    pub items: usize,
    pub at_once: usize,
    /// Finished rounds.
    pub rounds: usize,
    pub settings: Settings,
    pub ours: Option<Side>,
    /// Present if ours was measured both ways.
    pub ours_without_drafts: Option<Side>,
    /// Ours with drafts divided by ours without, computed like `ratio`.
    pub drafts_ratio: Option<f64>,
    pub peer: Option<Side>,
    pub peer_version: Option<String>,
    pub peer_setting: Option<Setting>,
    /// How many settings were tried; `peer_setting` was the fastest. 0 if the setting was given.
    pub peer_settings_tried: Option<usize>,
    /// Our verdicts per minute divided by the peer's: the median of the rounds' ratios.
    pub ratio: Option<f64>,
}

/// What stays constant during a run.
pub struct Frame<'a> {
    pub config: &'a Config,
    pub model: &'a str,
    pub items: usize,
    pub head: Head,
    pub peer: Option<PeerFacts>,
}

/// The peer measured beside ours.
pub struct PeerFacts {
    pub version: String,
    pub setting: Setting,
    pub tried: usize,
}

/// One of the sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Who {
    Ours { drafts: bool },
    Peer(Setting),
}

// === impl Who ===

impl Who {
    /// For display.
    pub fn describe(self) -> String {
        match self {
            Self::Ours { drafts: true } => "jury".to_owned(),
            Self::Ours { drafts: false } => "jury without drafts".to_owned(),
            Self::Peer(setting) => format!("llama-server {}", setting.describe()),
        }
    }
}

// === impl Report ===

impl Report {
    /// From complete rounds: all sides have equally many.
    pub fn new(frame: &Frame<'_>, complete: bool, sides: &[(Who, Vec<Round>)]) -> Self {
        let side = |wanted: fn(Who) -> bool| {
            let found = sides.iter().filter(move |(who, _)| wanted(*who));
            found.filter_map(|(who, rounds)| Side::of(*who, rounds.clone()))
        };
        let mut ours = side(|who| matches!(who, Who::Ours { .. }));
        let (ours, ours_without_drafts) = (ours.next(), ours.next());
        let peer = side(|who| matches!(who, Who::Peer(_))).next();
        let ratio = |other: &Option<Side>| {
            let rates = |side: &Side| side.verdicts_per_minute.values.clone();
            paired_ratio(&rates(ours.as_ref()?), &rates(other.as_ref()?))
        };
        let config = frame.config;
        let facts = frame.peer.as_ref();
        Self {
            head: frame.head.until_now(complete),
            threads: config.threads,
            model: frame.model.to_owned(),
            items: frame.items,
            at_once: config.at_once,
            rounds: sides.iter().map(|(_, rounds)| rounds.len()).min().unwrap_or(0),
            settings: config.settings.clone(),
            drafts_ratio: ratio(&ours_without_drafts),
            ratio: ratio(&peer),
            peer_version: facts.map(|facts| facts.version.clone()),
            peer_setting: facts.map(|facts| facts.setting),
            peer_settings_tried: facts.map(|facts| facts.tried),
            ours,
            ours_without_drafts,
            peer,
        }
    }

    /// The table for a terminal, or JSON.
    pub fn page(&self, json: bool) -> Result<String, Failed> {
        if json { json_page(self) } else { Ok(self.table()) }
    }

    fn table(&self) -> String {
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(self.rows());
        let mut text = format!("{}\n{}", self.preamble().join("\n"), columns(&rows));
        for line in self.ratios() {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for line in self.preamble().into_iter().chain(self.ratios()) {
            let _ = writeln!(text, "* {line}");
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

    fn sides(&self) -> impl Iterator<Item = &Side> {
        [&self.ours, &self.ours_without_drafts, &self.peer].into_iter().flatten()
    }

    fn rows(&self) -> Vec<[String; HEADINGS.len()]> {
        self.sides().map(Side::cells).collect()
    }

    fn ratios(&self) -> Vec<String> {
        let of_drafts = self
            .drafts_ratio
            .map(|ratio| format!("ours with drafts to without: {ratio:.2}x verdicts a minute"));
        let to_peer =
            self.ratio.map(|ratio| format!("ours to llama.cpp: {ratio:.2}x verdicts a minute"));
        of_drafts.into_iter().chain(to_peer).collect()
    }

    /// The peer's unnecessary work: it cannot end a single sample of a request.
    fn surplus(&self) -> Option<String> {
        let share = self.peer.as_ref()?.surplus_share * 100.0;
        let peer = match share > 0.0 {
            true => {
                format!("; llama-server went on for {share:.1} % more tokens, not counted below")
            }
            false => " on both sides".to_owned(),
        };
        Some(format!("a sample ends at its scores{peer}"))
    }

    fn preamble(&self) -> Vec<String> {
        let Settings { k, temperature, max_critique_tokens, .. } = self.settings;
        let peer = match (&self.peer_version, self.peer_settings_tried) {
            (Some(version), Some(0)) => format!("llama.cpp {version}, its settings untried"),
            (Some(version), Some(tried)) => {
                format!("llama.cpp {version}, the fastest of {tried} settings")
            }
            _ => "ours alone".to_owned(),
        };
        let rounds = caption(self.rounds, self.sides().count());
        let mut lines = vec![
            format!("{}; {peer}", self.head.line()),
            format!("{}, {}; {}", self.head.host.cpu, counted(self.threads, "thread"), self.model),
        ];
        lines.extend(self.head.load.line());
        lines.push(format!(
            "{}, {} at once, k {k}, temperature {temperature}, at most {max_critique_tokens} tokens a sample; \
             {rounds}",
            counted(self.items, "item"),
            self.at_once
        ));
        lines.push(match self.peer {
            Some(_) => "both read scores from what the model writes (free read-out), with the same prompts and parser".to_owned(),
            None => "scores are read from what the model writes (free read-out)".to_owned(),
        });
        lines.extend(self.surplus());
        if !self.head.complete {
            lines.push("cut short: only the rounds that were finished count".to_owned());
        }
        lines
    }
}
