//! The measurements, as a table, as Markdown and as JSON.

use std::fmt::Write as _;

use jury_engine::limits::{Bound, Limits};
use jury_terminal::exit::Failed;
use jury_terminal::page::columns;
use serde::Serialize;

use super::series::Series;
use crate::head::Head;
use crate::models::BenchModel;
use crate::output::json_page;
use crate::peer::Setting;
use crate::spread::{Spread, caption, counted, paired_ratio};

/// If less than this share of the requested tokens was decoded, the row shows the share.
const COMPLETE: f64 = 0.995;
const HEADINGS: [&str; 7] = ["MODEL", "PROMPT", "WHAT", "OURS", "LLAMA.CPP", "RATIO", "OF LIMIT"];
/// Without a peer.
const HEADINGS_ALONE: [&str; 5] = ["MODEL", "PROMPT", "WHAT", "TOKENS A SECOND", "OF LIMIT"];
/// Decimals of a rate below ten.
const DECIMALS: usize = 1;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub head: Head,
    pub limits: Limits,
    /// The device that our engine used, as written for --device.
    pub device: String,
    /// How its weights were stored there, as written for --card-weights; `None` without a GPU.
    pub card_weights: Option<String>,
    /// GPU memory used by the last model; `None` without a GPU.
    pub memory: Option<Memory>,
    pub peer: Option<PeerFacts>,
    pub rounds: usize,
    pub rows: Vec<Row>,
}

/// GPU memory used by a model.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    pub weights_bytes: u64,
    /// KV cache pages.
    pub kv_bytes: u64,
    pub buffer_bytes: u64,
}

/// The peer measured beside our engine.
#[derive(Debug, Clone, Serialize)]
pub struct PeerFacts {
    /// Its version, as it reports it.
    pub version: String,
}

/// One cell: our rate, the peer's, and the machine's limit.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub model: String,
    pub prompt_tokens: usize,
    /// Number of samples; `None` for a prefill.
    pub k: Option<usize>,
    /// Tokens that each sample generates; `None` for a prefill.
    pub generated: Option<usize>,
    /// Concurrent prompts, each with its samples.
    pub groups: usize,
    /// Whether attention read the shared part once for all samples.
    pub sharing: bool,
    /// Tokens per second, of all samples together.
    pub ours: Spread,
    pub peer: Option<Spread>,
    pub peer_setting: Option<Setting>,
    /// Our rate divided by the peer's: the median of the rounds' ratios.
    pub ratio: Option<f64>,
    /// The machine's limit as measured in this run; `None` on a GPU, and for several concurrent prompts.
    pub bound: Option<Bound>,
    pub share_of_bound: Option<f64>,
    /// Decoded share of the requested tokens, if samples ended early.
    pub completeness: Option<f64>,
}

// === impl Row ===

impl Row {
    /// `decode` is the number of samples and the tokens that each generates. `None` if the series has no values.
    pub fn new(
        model: &BenchModel,
        prompt_tokens: usize,
        decode: Option<(usize, usize)>,
        series: &Series,
        bound: Bound,
    ) -> Option<Self> {
        let ours = Spread::of(&series.ours)?;
        Some(Self {
            model: model.name.clone(),
            prompt_tokens,
            k: decode.map(|(samples, _)| samples),
            generated: decode.map(|(_, generated)| generated),
            groups: 1,
            sharing: true,
            share_of_bound: Some(ours.median / bound.tokens_per_second),
            peer: Spread::of(&series.theirs),
            peer_setting: series.setting,
            ratio: paired_ratio(&series.ours, &series.theirs),
            bound: Some(bound),
            completeness: series.completeness(),
            ours,
        })
    }

    fn cells(&self, with_peer: bool) -> Vec<String> {
        let none = || "-".to_owned();
        let mut what = match (self.k, self.generated) {
            (Some(k), Some(generated)) => format!("k {k}, {generated} generated"),
            _ => "prefill".to_owned(),
        };
        if self.groups > 1 {
            let _ = write!(what, ", {} prompts", self.groups);
        }
        if !self.sharing {
            what.push_str(", read apart");
        }
        if let Some(part) = self.completeness.filter(|&part| part < COMPLETE) {
            let _ = write!(what, " ({:.0} % of them)", part * 100.0);
        }
        let ours = self.ours.shown(DECIMALS);
        let mut cells = vec![self.model.clone(), self.prompt_tokens.to_string(), what, ours];
        if with_peer {
            let peer = self.peer.as_ref().map(|spread| {
                let setting = self.peer_setting.map_or("", Setting::describe);
                format!("{} {setting}", spread.shown(DECIMALS))
            });
            cells.push(peer.unwrap_or_else(none));
            cells.push(self.ratio.map_or_else(none, |ratio| format!("{ratio:.2}x")));
        }
        let of_limit = self.bound.zip(self.share_of_bound).map(|(bound, share)| {
            format!("{:.0} % of {:.0}", share * 100.0, bound.tokens_per_second)
        });
        cells.push(of_limit.unwrap_or_else(none));
        cells
    }
}

// === impl Report ===

impl Report {
    /// The table for a terminal, or JSON.
    pub fn page(&self, json: bool) -> Result<String, Failed> {
        if json { json_page(self) } else { Ok(self.table()) }
    }

    fn table(&self) -> String {
        format!("{}\n{}", self.preamble().join("\n"), columns(&self.cells()))
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for line in self.preamble() {
            let _ = writeln!(text, "* {line}");
        }
        text.push('\n');
        for (number, cells) in self.cells().iter().enumerate() {
            let line = cells.join(" | ");
            if number == 0 {
                let rule = vec!["---"; cells.len()].join(" | ");
                let _ = writeln!(text, "| {} |\n| {rule} |", line.to_lowercase());
            } else {
                let _ = writeln!(text, "| {line} |");
            }
        }
        text
    }

    /// Headings and rows.
    fn cells(&self) -> Vec<Vec<String>> {
        let with_peer = self.peer.is_some();
        let headings = if with_peer { &HEADINGS[..] } else { &HEADINGS_ALONE[..] };
        let mut cells = vec![headings.iter().copied().map(str::to_owned).collect()];
        cells.extend(self.rows.iter().map(|row| row.cells(with_peer)));
        cells
    }

    fn preamble(&self) -> Vec<String> {
        let Limits { threads, integer_instruction, integer_gops, float_gflops, memory_gbps } =
            &self.limits;
        let peer = self.peer.as_ref().map_or_else(
            || "ours alone".to_owned(),
            |peer| format!("llama.cpp {} at its best setting for each row", peer.version),
        );
        let sides = 1 + usize::from(self.peer.is_some());
        let rounds = caption(self.rounds, sides);
        let mut lines = vec![
            format!("{}; {peer}", self.head.line()),
            format!(
                "{}, {}: {integer_gops:.0} Gop/s in 8 bits ({integer_instruction}), {float_gflops:.0} \
                 Gflop/s, {memory_gbps:.1} GB/s",
                self.head.host.cpu,
                counted(*threads, "thread")
            ),
        ];
        lines.extend(self.head.load.line());
        lines.push(format!("tokens a second, {rounds}; each prompt was prefilled once"));
        if !self.head.complete {
            lines.push(
                "cut short: the last rows are of fewer rounds, others are missing".to_owned(),
            );
        }
        lines
    }
}

#[cfg(test)]
mod tests;
